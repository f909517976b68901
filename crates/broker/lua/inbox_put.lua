-- inbox_put.lua: puts a command, or an alarm. inbox.lua stands before it.
--
-- ARGV  8 id, 9 asker, 10 ms until it is due, 11 most that may be open of its counter, 12 of all commands, 13 body, 14 the
--       life of the project that it was put in before, or '', 15 guard of an alarm, or ''; of a command: 16 capability,
--       17 session, 18 agent, 19 urgent (1 or 0), 20 notice (1 or 0)
--
-- Answers: queued | no_runner | full | known | conflict | deleted, three words of how it stands, when the index had it last,
--          the time, the life of the project

local id, asker, guard = ARGV[8], ARGV[9], ARGV[15]

open(true, true)
sweep(SWEPT_MAX)

local item = load('i:' .. id)
local alarm = guard ~= ''
local notice = not alarm and ARGV[20] == '1'
local capability = alarm and '' or ARGV[16]
local bound = ''

local function answer(word, ...)
  local a, b, c = ...
  -- One of which nothing came is gone, and nobody need find it.
  local entered = is_idle() and now or books.entered
  if is_idle() then vanish() end
  close(true)
  return { word, a or '', b or '', c or '', int(entered), int(now), int(books.life) }
end

-- Whether a runner is there that can this.
local function has_runner()
  local prefix, from = 'c\0' .. capability .. '\0', 0
  while true do
    local some = redis.call('ZRANGE', order, '[' .. prefix, '(' .. prefix .. '\255', 'BYLEX', 'LIMIT', from, 100)
    for _, member in ipairs(some) do
      local runner = load('r:' .. string.sub(member, #prefix + 1))
      if runner and now < runner.till then return true end
    end
    if #some < 100 then return false end
    from = from + 100
  end
end

if ARGV[14] ~= '' and tonumber(ARGV[14]) < books.life then return answer('deleted') end
if item and item.asker ~= asker then return answer('conflict') end
local position, note = guard_of(alarm and guard or 'c:' .. id)
if position then
  if item then drop(id, item) end
  return answer('known', 'answered', position, note)
end
if item then return answer('known', standing(item)) end

if not alarm then
  local session, agent = ARGV[17], ARGV[18]
  local held = agent ~= '' and redis.call('HGET', inbox, 'o:' .. session .. '\0' .. agent)
  held = held or session ~= '' and redis.call('HGET', inbox, 'o:' .. session .. '\0')
  local owner = held and load('r:' .. string.sub(held, 17))
  if owner and now < owner.till then bound = string.sub(held, 17) end
  if bound == '' and not notice and not has_runner() then return answer('no_runner') end
end
books.puts = books.puts + 1

item = {
  asker = asker, capability = capability, bound = bound, lease = 0, deadline = now + tonumber(ARGV[10]),
  place = (not alarm and ARGV[19] == '1' and '0' or '1') .. pad(books.puts),
}
if alarm then item.guard = guard end
if notice then item.notice = true end
local counter = counter_of(item)
local open_now = tonumber(redis.call('HGET', inbox, 'n:' .. counter) or 0)
if open_now >= tonumber(ARGV[11]) or is_asked(item) and books.asked >= tonumber(ARGV[12]) then return answer('full') end
save('i:' .. id, item)
redis.pcall('HSET', inbox, 'b:' .. id, ARGV[13])
redis.pcall('HINCRBY', inbox, 'n:' .. counter, 1)
add('d\0' .. pad(item.deadline) .. '\0' .. id)
books.open, books.asked = books.open + 1, books.asked + (is_asked(item) and 1 or 0)
books.horizon = math.max(books.horizon, item.deadline)
join_queue(id, item)
return answer('queued')
