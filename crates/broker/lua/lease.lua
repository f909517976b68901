-- lease.lua: takes or renews the janitor's lease of a shard (docs/log.md L18). Its key is no project's and may be missing.
--
-- KEYS  lease: `<until ms> <owner>`, with an expiry of its own
-- ARGV  1 time, or '' (tests only), 2 owner, 3 ms
--
-- Answers: 1 (the owner's now) | 0

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local held = redis.call('GET', KEYS[1])
if held then
  local until_ms, owner = string.match(held, '^(%d+) (.*)$')
  if owner ~= ARGV[2] and tonumber(until_ms) > now then return 0 end
end
-- A write that needs no memory comes first: SET then passes under OOM too, when janitors are needed most.
redis.call('DEL', KEYS[1])
redis.pcall('SET', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])) .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
