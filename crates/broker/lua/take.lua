-- take.lua: takes from one bucket of a shared limit. src/quota/bucket.rs is the same in Rust. Its key is no project's and
-- may be missing: the bucket is full then. One key per call, so that the keys of a call need not lie in one slot.
--
-- KEYS  bucket: `<theoretical arrival time, us> <us at which it was written>`, expires when the bucket is full
-- ARGV  1 time in ms, or '' (tests only), 2 wanted, 3 least, 4 units, 5 per us, 6 burst
--
-- Answers: granted, us until the least is there (0: granted)
--
-- Products of an amount and ARGV[5] stay below 2^53, where doubles are exact, and so do their quotients' whole parts.

local now
if ARGV[1] ~= '' then
  now = tonumber(ARGV[1]) * 1000
else
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local wanted, least = tonumber(ARGV[2]), tonumber(ARGV[3])
local units, per, burst = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- How long so many units take at the exact rate.
local function time_of(amount)
  return math.max(1, math.ceil(amount * per / units))
end

local tat = now
local held = redis.call('GET', KEYS[1])
local owed, written = string.match(held or '', '^(%d+) (%d+)$')
if owed then
  -- A clock that went back (a failover) neither forgives nor lengthens what is owed.
  tat = math.max(now, tonumber(owed) - math.max(0, tonumber(written) - now))
end
local full = now + time_of(burst)
local needed = time_of(math.min(least, burst))
if tat + needed > full then return { 0, tat + needed - full } end

local granted = math.max(least, math.min(wanted, burst, math.floor((full - tat) * units / per)))
tat = tat + time_of(granted)
local expires = math.ceil((tat - now) / 1000)
-- The server's clock runs on while a test's stands.
if ARGV[1] ~= '' then expires = expires + 60000 end
redis.call('SET', KEYS[1], string.format('%.0f %.0f', tat, now), 'PX', string.format('%.0f', expires))
return { granted, 0 }
