-- inbox_put.lua: puts a command, or an alarm. inbox.lua stands before it.
--
-- ARGV  8 id, 9 asker, 10 ms until it is due, 11 most that may be open, 12 body, 13 guard of an alarm, or ''; of a command:
--       14 capability, 15 session, 16 agent, 17 urgent (1 or 0), 18 notice (1 or 0)
--
-- Answers: queued | no_runner | full | known | conflict, three words of how it stands, when the index had it last

local id, asker, guard = ARGV[8], ARGV[9], ARGV[13]

open(true, true)
sweep(SWEPT_MAX)

local item = load('i:' .. id)
local alarm = guard ~= ''
local capability = alarm and '' or ARGV[14]
local bound = ''

local function answer(word, ...)
  close(true)
  local a, b, c = ...
  return { word, a or '', b or '', c or '', int(books.entered), int(now) }
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

if item and item.asker ~= asker then return answer('conflict') end
local position, note = guard_of(alarm and guard or 'c:' .. id)
if position then
  if item then drop(id, item) end
  return answer('known', 'answered', position, note)
end
if item then return answer('known', standing(item)) end

if not alarm then
  local session, agent = ARGV[15], ARGV[16]
  local held = agent ~= '' and redis.call('HGET', inbox, 'o:' .. session .. '\0' .. agent)
  held = held or session ~= '' and redis.call('HGET', inbox, 'o:' .. session .. '\0')
  local owner = held and load('r:' .. string.sub(held, 17))
  if owner and now < owner.till then bound = string.sub(held, 17) end
  if bound == '' and ARGV[18] ~= '1' and not has_runner() then return answer('no_runner') end
end
books.puts = books.puts + 1
if tonumber(redis.call('HGET', inbox, 'n:' .. capability) or 0) >= tonumber(ARGV[11]) then return answer('full') end

item = {
  asker = asker, capability = capability, bound = bound, lease = 0, deadline = now + tonumber(ARGV[10]),
  place = (not alarm and ARGV[17] == '1' and '0' or '1') .. pad(books.puts),
}
if alarm then item.guard = guard end
if not alarm and ARGV[18] == '1' then item.notice = true end
save('i:' .. id, item)
redis.pcall('HSET', inbox, 'b:' .. id, ARGV[12])
redis.pcall('HINCRBY', inbox, 'n:' .. capability, 1)
add('d\0' .. pad(item.deadline) .. '\0' .. id)
books.open = books.open + 1
books.horizon = math.max(books.horizon, item.deadline)
join_queue(id, item)
wakes = true
return answer('queued')
