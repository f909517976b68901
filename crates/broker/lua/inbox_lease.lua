-- inbox_lease.lua: what a runner does with what is leased to it. inbox.lua stands before it.
--
-- ARGV  8 runner, 9 for how long it does not get again what it gives back, ms, 10 whose it must be; then id, lease, act
--       (accept | extend | release | check), ms of each
--
-- Answers: done ASKER DEADLINE BODY | lost | gone, of each

local name, rest_ms = ARGV[8], tonumber(ARGV[9])

open(false, false)
sweep(SWEPT_MAX)

local runner = load('r:' .. name)
local is_own, works = runner and runner.subject == ARGV[10], false

local function step(id, lease, act, ms)
  local item = load('i:' .. id)
  if not item then return { 'gone' } end
  if guard_of(guard_key(id, item)) then
    drop(id, item)
    return { 'gone' }
  end
  if not is_own or item.runner ~= name or item.lease ~= lease or (item.till and item.till <= now) then return { 'lost' } end
  works = true
  local done = { 'done', item.asker, int(item.deadline), body_of(id) }
  if act == 'accept' and item.notice then
    drop(id, item)
  elseif act == 'accept' and item.till then
    remove('l\0' .. pad(item.till) .. '\0' .. id)
    item.till = nil
    save('i:' .. id, item)
  elseif act == 'extend' and item.till then
    remove('l\0' .. pad(item.till) .. '\0' .. id)
    item.till = now + ms
    add('l\0' .. pad(item.till) .. '\0' .. id)
    save('i:' .. id, item)
  elseif act == 'release' then
    item.rests, item.rests_till = name, now + rest_ms
    give_back(id, item)
  end
  return done
end

local answers = {}
for i = 11, #ARGV, 4 do
  answers[#answers + 1] = step(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], tonumber(ARGV[i + 3]))
end
-- Who works is there, for as long as its last take said. Who lapsed comes back by a take.
if works and now < runner.till and runner.till < now + (runner.ttl or 0) then
  remove('e\0' .. pad(runner.till) .. '\0' .. name)
  runner.till = now + runner.ttl
  add('e\0' .. pad(runner.till) .. '\0' .. name)
  save('r:' .. name, runner)
end
close(true)
return answers
