-- fleet.lua: what a gateway carries, under its lease, and what all do. common.lua stands before it. src/memory/fleet.rs is
-- the same in Rust. Its key is no project's and may be missing: nobody has said anything then.
--
-- KEYS  fleet, a hash: gateway = `<from ms> <until ms> <viewers>`
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 gateway, 4 ms of its lease (0: it leaves),
--       5 how many viewers it has
--
-- Answers: 1 (its lease had run out, or never was) or 0; then name, viewers and age in ms of each gateway

local key, me = KEYS[1], ARGV[3]
if ARGV[4] == '0' then
  redis.call('HDEL', key, me)
  return { 0 }
end

local now, ms = clock(ARGV[2]), tonumber(ARGV[4])

-- Since when and how many, if the lease runs. It does not before it began: a clock that went back keeps no dead gateway
-- alive.
local function runs(word)
  local from, till, viewers = string.match(word or '', '^(%d+) (%d+) (%d+)$')
  from = tonumber(from)
  if from and from <= now and now < tonumber(till) then return from, tonumber(viewers) end
end

local lapsed = runs(redis.call('HGET', key, me)) and 0 or 1
redis.call('HSET', key, me, int(now) .. ' ' .. int(now + ms) .. ' ' .. ARGV[5])
-- The server's clock runs on while a test's stands.
redis.pcall('PEXPIRE', key, int(2 * ms + (ARGV[2] ~= '' and 60000 or 0)))

local answer, dead = { lapsed }, {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local from, viewers = runs(all[i + 1])
  if from then
    local at = #answer
    answer[at + 1], answer[at + 2], answer[at + 3] = all[i], viewers, now - from
  else
    dead[#dead + 1] = all[i]
  end
end
sliced('HDEL', key, dead)
return answer
