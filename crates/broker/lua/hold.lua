-- hold.lua: what a holder holds in one shard of counted holds, more of it, and its lease. src/quota/holds.rs is the same
-- in Rust. Its key is no project's and may be missing: nobody holds anything then.
--
-- KEYS  shard, a hash: `h:<holder>` = `<from ms> <until ms>` of its lease; `n:<name>` = `<holder> <count> ...`
-- ARGV  1 time in ms, or '' (tests only), 2 holder, 3 ms of its lease, 4 fields to sweep at most;
--       then name, kept, wanted, max of each
--
-- Answers: 1 (its lease had run out, or never was) or 0, then how many more of each name it got

local key, me = KEYS[1], ARGV[2]
local ttl = tonumber(ARGV[3])
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A lease does not run before it began: a clock that went back (a failover) keeps no dead holder alive.
local function runs(lease)
  local from, till = string.match(lease or '', '^(%d+) (%d+)$')
  return from ~= nil and tonumber(from) <= now and now < tonumber(till)
end
local known = {}
local function alive(holder)
  if known[holder] == nil then known[holder] = runs(redis.call('HGET', key, 'h:' .. holder)) end
  return known[holder]
end
-- Live shares of others, and their sum.
local function others(value)
  local shares, sum = {}, 0
  for holder, count in string.gmatch(value or '', '(%S+) (%d+)') do
    if holder ~= me and alive(holder) then
      shares[#shares + 1] = holder .. ' ' .. count
      sum = sum + tonumber(count)
    end
  end
  return shares, sum
end

local answer = { alive(me) and 0 or 1 }
local set, gone, named = { 'h:' .. me, string.format('%.0f %.0f', now, now + ttl) }, {}, {}
for i = 5, #ARGV, 4 do
  local field = 'n:' .. ARGV[i]
  local kept, wanted, max = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local shares, sum = others(redis.call('HGET', key, field))
  local more = math.max(0, math.min(wanted, max - sum - kept))
  if kept + more > 0 then shares[#shares + 1] = string.format('%s %.0f', me, kept + more) end
  if #shares > 0 then
    set[#set + 1], set[#set + 2] = field, table.concat(shares, ' ')
  else
    gone[#gone + 1] = field
  end
  named[field] = true
  answer[#answer + 1] = more
end

-- What the dead left is skipped wherever it is read; a random few fields of it go with each call.
if ARGV[4] ~= '0' then
  known[me] = true
  local some = redis.call('HRANDFIELD', key, ARGV[4], 'WITHVALUES')
  for i = 1, #some, 2 do
    local field, value = some[i], some[i + 1]
    local kind = string.sub(field, 1, 2)
    local dead = kind == 'h:' and field ~= 'h:' .. me and not runs(value)
    if kind == 'n:' and not named[field] then
      local left = #others(value) > 0 or string.find(' ' .. value, ' ' .. me .. ' ', 1, true)
      dead = not left
    end
    if dead then gone[#gone + 1] = field end
  end
end

-- At most 1,000 names: unpack takes these lists whole.
redis.call('HSET', key, unpack(set))
if #gone > 0 then redis.pcall('HDEL', key, unpack(gone)) end
-- Nobody's lease runs by then, unless somebody called again. The server's clock runs on while a test's stands.
local expires = 2 * ttl
if ARGV[1] ~= '' then expires = expires + 60000 end
redis.pcall('PEXPIRE', key, string.format('%.0f', expires))
return answer
