-- slip.lua: one step on a client's slip. common.lua stands before it. src/memory/slips.rs is the same in Rust. Its key is no
-- project's and may be missing: there is no such slip then. What only looks writes nothing.
--
-- KEYS  slip, a hash: `until` in ms, `f:<field>`, and of its lines `l:<number>`, `last` = number of the newest, `told` = all up
--       to here are gone, `bytes` of those that wait
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 makes it (1 | 0), 4 ms that it lives (0: as it
--       did), 5 lines up to here were told, 6 most lines, 7 most bytes of lines, 8 answer without lines (1 | 0), 9 field that
--       decides or '', 10 its value, 11 fields to set, then name and value of each, then lines
--
-- Answers: nil (there is none) | `done` (0 done, 1 the field has another value, 2 no room), then the hash as it is then

local key = KEYS[1]
local now, ms, told, sets = clock(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[11])

local values = redis.call('HMGET', key, 'until', 'last', 'told', 'bytes')
local till = tonumber(values[1] or '')
local fresh = not till or till <= now
if fresh and ARGV[3] ~= '1' then return nil end
if fresh then values = {} end
local last, gone, bytes = tonumber(values[2] or '0'), tonumber(values[3] or '0'), tonumber(values[4] or '0')

local function answer(done)
  local pairs_of = { 'done', done }
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if ARGV[8] ~= '1' or string.sub(name, 1, 2) == 'f:' then
      pairs_of[#pairs_of + 1] = name
      pairs_of[#pairs_of + 1] = redis.call('HGET', key, name)
    end
  end
  return pairs_of
end

local so = ARGV[9] == '' or (not fresh and redis.call('HGET', key, 'f:' .. ARGV[9]) == ARGV[10])
local first, lines = 12 + 2 * sets, #ARGV - 11 - 2 * sets
local going = {}
for number = gone + 1, math.min(told, last) do
  going[#going + 1] = 'l:' .. int(number)
  bytes = bytes - #(redis.call('HGET', key, going[#going]) or '')
end
for i = first, #ARGV do
  bytes = bytes + #ARGV[i]
end
local room = lines == 0
  or (last - gone - #going + lines <= tonumber(ARGV[6]) and bytes <= tonumber(ARGV[7]))

if fresh then
  redis.call('DEL', key)
  redis.call('HSET', key, 'until', int(now + 1))
end
if not so or not room then
  if fresh then redis.pcall('PEXPIRE', key, 60000) end
  return answer(so and '2' or '1')
end

for i = 12, first - 1, 2 do
  redis.call('HSET', key, 'f:' .. ARGV[i], ARGV[i + 1])
end
for _, name in ipairs(going) do
  redis.call('HDEL', key, name)
end
for i = first, #ARGV do
  last = last + 1
  redis.call('HSET', key, 'l:' .. int(last), ARGV[i])
end
if #going > 0 or lines > 0 then
  redis.call('HSET', key, 'last', int(last), 'told', int(gone + #going), 'bytes', int(bytes))
end
if ms > 0 then
  redis.call('HSET', key, 'until', int(now + ms))
end
if ms > 0 or fresh then
  -- The server's clock runs on while a test's stands.
  redis.pcall('PEXPIRE', key, int(math.max(ms, 1) + (ARGV[2] ~= '' and 60000 or 0)))
end
return answer('0')
