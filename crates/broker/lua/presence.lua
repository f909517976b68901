-- presence.lua: what a gateway has in a project, under its lease, and the roll of all who are there. runners.lua stands
-- before it. src/memory/presence.rs is the same in Rust. Any key may be missing: nobody is there then.
--
-- KEYS  1 roll, a hash: gateway = `<from ms> <until ms> <version>`; 2 runners (runners.lua);
--       3 what the gateway has, a hash: `.` = `<version> <others>`, `:<member>` = record. Left out: the roll is only read
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 longest time of a runner, in ms,
--       4 version of the runners that the caller knows, 5 how many to tell at most; with a gateway: 6 its name, 7 ms of
--       its lease (0: it leaves), 8 version, 9 how many others, or '' (nothing changed); then member, record of each
--
-- Answers: 1 (nothing was renewed: the lease had run out, or another version is kept) or 0; the version of the runners;
--   name, since, record of each, or nothing (it is the known one); how many more; then name, version of each gateway

local roll, runners, own = KEYS[1], KEYS[2], KEYS[3]
local longest, known, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock(ARGV[2])

-- The version, if the lease runs. It does not before it began: a clock that went back keeps no dead gateway alive.
local function runs(lease)
  local from, till, version = string.match(lease or '', '^(%d+) (%d+) (%d+)$')
  if from and tonumber(from) <= now and now < tonumber(till) then return tonumber(version) end
end

local lapsed = 0
if own and ARGV[7] == '0' then
  redis.call('HDEL', roll, ARGV[6])
  redis.pcall('DEL', own)
  return { 0, 0, false, 0 }
elseif own then
  local me, ms, version, others = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
  local kept = runs(redis.call('HGET', roll, me))
  local tells = others ~= ''
  if tells and kept and kept > version then
    lapsed = 1
  elseif not tells and (kept ~= version or redis.call('EXISTS', own) == 0) then
    lapsed = 1
  else
    redis.call('HSET', roll, me, int(now) .. ' ' .. int(now + ms) .. ' ' .. int(version))
    if tells then
      local fields = { '.', int(version) .. ' ' .. others }
      for i = 10, #ARGV, 2 do
        fields[#fields + 1], fields[#fields + 2] = ':' .. ARGV[i], ARGV[i + 1]
      end
      redis.pcall('DEL', own)
      sliced('HSET', own, fields)
    end
    -- One expiry for all that it has. The server's clock runs on while a test's stands.
    local slack = ARGV[2] ~= '' and 60000 or 0
    redis.pcall('PEXPIRE', own, int(ms + slack))
    redis.pcall('PEXPIRE', roll, int(2 * ms + slack))
  end
end

local version, lapse = runner_books(runners)
local there, more = false, 0
if not lapse then
  if known ~= 0 then there = {} end
elseif version ~= known or lapse <= now or lapse > now + longest then
  there, more, version = sweep_runners(runners, now, longest, version, most)
  if version == known then there, more = false, 0 end
end

local answer, dead = { lapsed, version, there, more }, {}
local all = redis.call('HGETALL', roll)
for i = 1, #all, 2 do
  local listed = runs(all[i + 1])
  if listed then
    local at = #answer
    answer[at + 1], answer[at + 2] = all[i], listed
  else
    dead[#dead + 1] = all[i]
  end
end
sliced('HDEL', roll, dead)
return answer
