-- inbox_take.lua: a runner is there, and takes what waits for it. inbox.lua stands before it.
--
-- ARGV  8 runner, 9 subject, 10 ms for which it is there, 11 most that it takes, 12 most that it has then, 13 ms to accept,
--       14 runners that may be known, 15 commands of a queue looked at beyond those that are wanted, 16 whether it looks
--       further (1 or 0); then capabilities
--
-- Answers: taken | anothers | full | gone, when the index had it last, the time, what it has beside; then id, lease, until,
--          deadline, asker, body of each

local name, subject = ARGV[8], ARGV[9]
local wanted, hand_max, lease_ms = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local capabilities = {}
for i = 17, #ARGV do capabilities[#capabilities + 1] = ARGV[i] end

open(true, false)
sweep(SWEPT_MAX)

local function answer(word, beside)
  close(true)
  return { word, int(books.entered), int(now), int(beside or 0) }
end

local known = load('r:' .. name)
if ARGV[16] == '1' and not (known and known.subject == subject and now < known.till) then return answer('gone') end
local ttl = tonumber(ARGV[10])
local runner = { subject = subject, capabilities = table.concat(capabilities, '\n'), till = now + ttl, ttl = ttl }
if known then
  if known.subject ~= subject then
    -- Somebody else's things are not his who comes next.
    if now < known.till or has_something(name) then return answer('anothers') end
  else
    runner.till = math.max(runner.till, known.till)
  end
elseif books.runners >= tonumber(ARGV[14]) then
  return answer('full')
else
  books.runners = books.runners + 1
end
local same = known and known.till == runner.till and known.ttl == ttl
if not same or known.capabilities ~= runner.capabilities or known.subject ~= subject then save('r:' .. name, runner) end
if known then
  remove('x\0' .. pad(known.till) .. '\0' .. name)
  if known.till ~= runner.till then remove('e\0' .. pad(known.till) .. '\0' .. name) end
end
add('e\0' .. pad(runner.till) .. '\0' .. name)
if not known or known.capabilities ~= runner.capabilities then
  for capability in string.gmatch(known and known.capabilities or '', '[^\n]+') do
    remove('c\0' .. capability .. '\0' .. name)
  end
  for _, capability in ipairs(capabilities) do add('c\0' .. capability .. '\0' .. name) end
end

local hand = 'h\0' .. name .. '\0'
local has = redis.call('ZLEXCOUNT', order, '[' .. hand, '(' .. hand .. '\255')
local room = math.max(0, math.min(wanted, hand_max - has))
local leased = {}
if wanted > 0 and books.waiting > 0 then
  local heads, seen = {}, {}
  local function look(queue, most)
    if seen[queue] then return end
    seen[queue] = true
    local prefix = 'q\0' .. queue .. '\0'
    for _, member in ipairs(members(prefix, int(most + tonumber(ARGV[15])))) do
      heads[#heads + 1] = string.sub(member, #prefix + 1)
    end
  end
  -- Notices come to full hands, too.
  look('r:' .. name, wanted)
  if room > 0 then
    for _, capability in ipairs(capabilities) do look('c:' .. capability, room) end
  end
  -- By their place: no two have the same.
  table.sort(heads)
  for _, head in ipairs(heads) do
    if #leased == wanted then break end
    local id = string.sub(head, 19)
    local item = load('i:' .. id)
    local fits = item and (room > 0 or item.notice)
    if fits and item.deadline > now and not (item.rests == name and now < item.rests_till) then
      if guard_of(guard_key(id, item)) then
        drop(id, item)
      else
        leave_queue(id, item)
        item.lease, item.runner, item.till = item.lease + 1, name, now + lease_ms
        item.rests, item.rests_till = nil, nil
        save('i:' .. id, item)
        add(hand .. id)
        add('l\0' .. pad(item.till) .. '\0' .. id)
        leased[#leased + 1] = { id, item }
        if not item.notice then room = room - 1 end
      end
    end
  end
end

local told = answer('taken', has)
for _, one in ipairs(leased) do
  local id, item = one[1], one[2]
  local at = #told
  told[at + 1], told[at + 2], told[at + 3] = id, int(item.lease), int(item.till)
  told[at + 4], told[at + 5], told[at + 6] = int(item.deadline), item.asker, body_of(id)
end
return told
