-- registry.lua: keys, members and settings of a project. One hash per call, so that each call has one key; a hash that is
-- not there is an empty one.
--
-- KEYS  the hash
-- ARGV  1 newest format known (not looked at), 2 operation, then what it takes:
--   get  FIELD                   -> the value, or nothing
--   all                          -> field, value, field, value, ...
--   add  FIELD VALUE MAX         -> 1 | 0 (the field is there) | -1 (MAX fields are there)
--   put  FIELD VALUE MAX         -> as add, but a field that is there gets the value: 1
--   set  FIELD VALUE             -> 1 | 0 (there is no such field)
--   del  FIELD                   -> 1 | 0 (there is no such field)
--   swap VALUE VERSION           -> the new version | -1 (VERSION is not the one in place)

local hash, op, field, value = KEYS[1], ARGV[2], ARGV[3], ARGV[4]

if server() ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end

if op == 'get' then return redis.call('HGET', hash, field) end
if op == 'all' then return redis.call('HGETALL', hash) end
if op == 'del' then return redis.call('HDEL', hash, field) end

if op == 'swap' then
  local version = tonumber(redis.call('HGET', hash, 'version') or '0')
  if version ~= tonumber(ARGV[4]) then return -1 end
  redis.call('HSET', hash, 'version', int(version + 1), 'value', ARGV[3])
  return version + 1
end

local there = redis.call('HEXISTS', hash, field) == 1
if op == 'set' then
  if not there then return 0 end
  -- A write that needs no memory comes first: the value then passes under OOM too. A key must be revocable at any time.
  redis.call('HDEL', hash, field)
  redis.pcall('HSET', hash, field, value)
  return 1
end
if there and op == 'add' then return 0 end
if not there and redis.call('HLEN', hash) >= tonumber(ARGV[5]) then return -1 end
redis.call('HSET', hash, field, value)
return 1
