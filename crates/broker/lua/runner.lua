-- runner.lua: a runner of a project is there, or went. runners.lua stands before it, and describes the hash.
--
-- KEYS  runners
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 longest time to be there, in ms, 4 operation,
--       5 runner, 6 subject that says so, 7 1: whosesoever it is, then what it takes:
--   put  MS RECORD MAX           -> 1 (came) | 0 (was there) | -1 (MAX others are there) | -2 (another's), since ms
--   del                          -> 1 | 0 (was not there) | -2 (another's)
--   forget (all of them)         -> 0

local key, longest, field, subject = KEYS[1], tonumber(ARGV[3]), ':' .. ARGV[5], ARGV[6]
if ARGV[4] == 'forget' then
  -- A list that is not there is news to whoever knows a version.
  redis.call('DEL', key)
  return 0
end
local now = clock(ARGV[2])
local version, lapse = runner_books(key)
local held = redis.call('HGET', key, field)
local since, _, from, record = runner(held, now, longest)
local del = ARGV[4] == 'del'
if since and ARGV[7] ~= '1' and string.sub(held, from, record - 1) ~= subject then
  if del then return -2 end
  return { -2, 0 }
end

if del then
  if not held then return 0 end
  redis.call('HDEL', key, field)
  set_runner_books(key, math.max(now, version + 1), lapse or now)
  return since and 1 or 0
end

-- The books are a field, too.
if not held and redis.call('HLEN', key) > tonumber(ARGV[10]) then
  local _
  _, _, version, lapse = sweep_runners(key, now, longest, version, 0)
  if redis.call('HLEN', key) > tonumber(ARGV[10]) then return { -1, 0 } end
end
local till = now + math.min(math.max(tonumber(ARGV[8]), 1), longest)
if not since or string.sub(held, record) ~= ARGV[9] then version = math.max(now, version + 1) end
local came = since and 0 or 1
since = since or int(now)
redis.call('HSET', key, field, since .. ' ' .. int(till) .. ' ' .. #subject .. ' ' .. subject .. ARGV[9],
  '.', int(version) .. ' ' .. int(math.min(lapse or till, till)))
redis.pcall('PEXPIRE', key, int(2 * longest))
return { came, tonumber(since) }
