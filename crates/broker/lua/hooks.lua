-- hooks.lua: webhooks: the index of the projects that have some, and where each of them is. common.lua stands before it.
-- src/memory/hooks.rs is the same in Rust. A key that is missing is empty.
--
-- KEYS  one of the two:
--         places of a project, a hash: name = `<version> <record>`
--         a shard of the index, a hash: project = stamp
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 operation, then what it takes:
--   enter PROJECT                    -> 1
--   leave PROJECT STAMP              -> 1 | 0 (another stamp, or none)
--   all                              -> name, value, name, value, ...
--   swap NAME VERSION MAX [RECORD]   -> the new version, 0: it is gone | -1 (VERSION is not in place) | -2 (MAX are there)
--   clear                            -> 1

local key, op, name = KEYS[1], ARGV[3], ARGV[4]

if server() ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end

if op == 'all' then return redis.call('HGETALL', key) end
if op == 'clear' then
  redis.call('UNLINK', key)
  return 1
end

local now, value = clock(ARGV[2]), redis.call('HGET', key, name)

if op == 'enter' then
  redis.call('HSET', key, name, int(math.max(now, tonumber(value or '0') + 1)))
  return 1
end
if op == 'leave' then
  if not value or tonumber(value) ~= tonumber(ARGV[5]) then return 0 end
  return redis.call('HDEL', key, name)
end

local before, record = tonumber(string.match(value or '0', '^%d+')), ARGV[7]
if before ~= tonumber(ARGV[5]) then return -1 end
if not record then
  redis.call('HDEL', key, name)
  return 0
end
if before == 0 and redis.call('HLEN', key) >= tonumber(ARGV[6]) then return -2 end
local version = math.max(now, before + 1)
redis.call('HSET', key, name, int(version) .. ' ' .. record)
return version
