-- sweep.lua: removes writers and producers of meta that were not used for long (docs/log.md L5, L7), or guards whose time is
-- over, one step of a scan.
--
-- KEYS  meta, guards
-- ARGV  1 newest format known, 2 time, or '' (tests only), 3 writers' ms, 4 producers' ms, 5 cursor of HSCAN, 6 fields
--       per step, 7 which: meta | guards
--
-- Answers: the next cursor ('0': done)

local meta, guards = KEYS[1], KEYS[2]

if server() ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end
local format = redis.call('HGET', meta, 'format')
if not format or newer({ format }) then return '0' end

local now = clock(ARGV[2])
if ARGV[7] == 'guards' then
  local step = redis.call('HSCAN', guards, ARGV[5], 'COUNT', ARGV[6])
  local over = {}
  for i = 1, #step[2], 2 do
    local till = string.match(step[2][i + 1], '^(%d+) ')
    if till and tonumber(till) <= now then over[#over + 1] = step[2][i] end
  end
  sliced('HDEL', guards, over)
  return step[1]
end
local keep = { w = tonumber(ARGV[3]), p = tonumber(ARGV[4]) }
local step = redis.call('HSCAN', meta, ARGV[5], 'COUNT', ARGV[6])
local stale, producers = {}, 0
for i = 1, #step[2], 2 do
  local field, value = step[2][i], step[2][i + 1]
  local kind = string.match(field, '^([wp]):')
  -- Both kinds: a number, then when it was last used.
  if kind and tonumber(string.match(value, '^%d+ (%d+)')) + keep[kind] < now then
    stale[#stale + 1] = field
    if kind == 'p' then producers = producers + 1 end
  end
end
if #stale > 0 then
  sliced('HDEL', meta, stale)
  if producers > 0 then redis.pcall('HINCRBY', meta, 'producers', -producers) end
end
return step[1]
