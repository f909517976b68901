-- slip.lua: one step on a client's slip. common.lua stands before it. src/memory/slips.rs is the same in Rust. Its key is no
-- project's and may be missing: there is no such slip then.
--
-- KEYS  slip, a hash: `until` in ms, `last` = number of the last line, `f:<field>`, `l:<number>`
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 makes it (1 | 0), 4 ms that it lives, 5 lines up
--       to here were told, 6 most lines, 7 fields to set, then name and value of each, then lines
--
-- Answers: nil (there is none) | the hash as it is then

local key = KEYS[1]
local now, ms, told, most, sets = clock(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local till = tonumber(redis.call('HGET', key, 'until') or '')
if till and till <= now then
  redis.call('DEL', key)
  till = nil
end
if not till and ARGV[3] ~= '1' then return nil end

redis.call('HSET', key, 'until', int(now + ms))
for i = 8, 7 + 2 * sets, 2 do
  redis.call('HSET', key, 'f:' .. ARGV[i], ARGV[i + 1])
end
local waiting = 0
for _, name in ipairs(redis.call('HKEYS', key)) do
  local number = tonumber(string.match(name, '^l:(%d+)$') or '')
  if number and number <= told then
    redis.call('HDEL', key, name)
  elseif number then
    waiting = waiting + 1
  end
end
for i = 8 + 2 * sets, #ARGV do
  if waiting < most then
    waiting = waiting + 1
    redis.call('HSET', key, 'l:' .. int(redis.call('HINCRBY', key, 'last', 1)), ARGV[i])
  end
end
-- The server's clock runs on while a test's stands.
redis.pcall('PEXPIRE', key, int(ms + (ARGV[2] ~= '' and 60000 or 0)))
return redis.call('HGETALL', key)
