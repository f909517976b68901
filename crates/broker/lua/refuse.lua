-- refuse.lua: refuses a project's appends for a while, or no longer (docs/log.md L18).
--
-- KEYS  log, meta
-- ARGV  1 newest format known, 2 time, or '' (tests only), 3 ms from now on (0: no longer), 4 in a cluster (1 or 0)
--
-- Answers: 1 | 0 (never born, or of a newer format: left alone)

local log, meta = KEYS[1], KEYS[2]

if server() ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end
local m = redis.call('HMGET', meta, 'format', 'branch')
if newer(m) or not m[2] then return 0 end
local split = torn(ARGV[4], log, meta)
if split then return split end

-- A trim of nothing comes first: the HSET behind it then passes under OOM, when it is needed most (L17).
redis.call('XTRIM', log, 'MINID', '0-0')
if ARGV[3] == '0' then
  redis.pcall('HDEL', meta, 'refused_until')
else
  redis.pcall('HSET', meta, 'refused_until', int(clock(ARGV[2]) + tonumber(ARGV[3])))
end
return 1
