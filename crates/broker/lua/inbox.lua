-- inbox.lua: a project's inbox; stands before the scripts that touch it. src/memory/inbox/book.rs is the same in Rust.
--
-- KEYS  1 inbox, 2 order: both or none are there; 3 guards, 4 meta: of the project's log, and only read
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 in a cluster (1 or 0), 4 channel, 5 publish
--       command, 6 how long an inbox that nobody uses is kept, ms, 7 how much that became due is looked at; then what the
--       script takes
--
-- The inbox is a hash. Items and runners are MessagePack:
--   `.` the books: numbers in the order of BOOKS; `i:<id>` an item, `b:<id>` its body; `n:<counter>` how many are open; `r:<runner>` a runner;
--   `o:<session>\0<agent>` = 16 digits of when it was heard of, and the runner
-- The order is a sorted set whose members, all of one score, are sorted by their bytes (numbers have 16 digits):
--   `q\0c:<capability>\0<place>\0<id>`, `q\0r:<runner>\0<place>\0<id>` what waits; `h\0<runner>\0<id>` what a runner has
--   `d\0<ms>\0<id>` deadlines to come, `p\0<ms>\0<id>` deadlines past; `l\0<ms>\0<id>` ends of leases
--   `e\0<ms>\0<runner>` when runners lapse, `x\0<ms>\0<runner>` those that did; `c\0<capability>\0<runner>` who can what
--   `a\0<heard>\0<session>\0<agent>`, `t\0<session>\0<agent>`, `s\0<runner>\0<session>`, `g\0<runner>\0<session>\0<agent>`
--   owners by age, by session, and of whole sessions and of agents by runner; `.` is always there
-- So whatever is asked for is a range, however much else there is.

local inbox, order, guards = KEYS[1], KEYS[2], KEYS[3]
local KEPT_MS, SWEPT_MAX = tonumber(ARGV[6]), tonumber(ARGV[7])
-- With more words than these a wake-up is for everybody.
local WORDS_MAX = 100

if server() ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end
local split = torn(ARGV[3], inbox, order) or torn(ARGV[3], guards, KEYS[4])
if split then return split end
local now = clock(ARGV[2])

-- Puts and owners so far, how many there are of each, the last deadline ever put, when it was last used (about), when the
-- index had the project last, commands that somebody waits for, and which life of the project this is.
local BOOKS = { 'puts', 'heard', 'owned', 'runners', 'open', 'waiting', 'horizon', 'used', 'entered', 'asked', 'life' }
local books, books_before, is_there, words = {}, {}, false, {}

local function pad(number)
  return string.format('%016.0f', number)
end
-- Wakes who waits for this (src/inbox/waking.rs).
local function wake(word)
  words[#words + 1] = word
end
-- Behind the first write nothing may raise; what cannot be written under a full memory was let in by that first one.
local function add(member)
  return redis.pcall('ZADD', order, 0, member) == 1
end
local function remove(...)
  return redis.pcall('ZREM', order, ...)
end
-- Members that begin so, at most so many.
local function members(prefix, most)
  return redis.call('ZRANGE', order, '[' .. prefix, '(' .. prefix .. '\255', 'BYLEX', 'LIMIT', 0, most)
end
-- Members of this kind up to this time, the first ones.
local function until_now(kind, most)
  return redis.call('ZRANGE', order, '[' .. kind .. '\0', '(' .. kind .. '\0' .. pad(now + 1), 'BYLEX', 'LIMIT', 0, most)
end
-- The name in a member that has a time.
local function name_of(member)
  return string.sub(member, 20)
end
local function ms_of(member)
  return tonumber(string.sub(member, 3, 18))
end

-- Opens the inbox; `makes` one that is not there. `fails`: not without memory, else it passes when there is none.
local function open(makes, fails)
  local keys = redis.call('EXISTS', inbox, order)
  if fails then redis.call('ZADD', order, 0, '.') else redis.call('ZREM', order, '!') end
  local values = {}
  for value in string.gmatch(keys == 2 and redis.call('HGET', inbox, '.') or '', '%d+') do
    values[#values + 1] = tonumber(value)
  end
  for i, name in ipairs(BOOKS) do books[name], books_before[name] = values[i] or 0, values[i] end
  is_there = #values > 0
  -- One of the two was lost, or nobody came for so long that both would have expired.
  if keys > 0 and (not is_there or now >= math.max(books.used, books.horizon) + KEPT_MS) then
    redis.pcall('UNLINK', inbox, order)
    for _, name in ipairs(BOOKS) do books[name], books_before[name] = 0, nil end
    is_there = false
  end
  if makes then is_there = add('.') or true end
end

-- Keeps the books, and wakes who waits. It was used, or somebody only looked after it.
local function close(uses)
  if is_there then
    local used, values, changed = books.used, {}, false
    if uses and (used == 0 or now < used or now >= used + 60000) then books.used = now end
    for i, name in ipairs(BOOKS) do
      values[i] = int(books[name])
      changed = changed or books[name] ~= books_before[name]
    end
    if changed then redis.pcall('HSET', inbox, '.', table.concat(values, ' ')) end
    if books.used ~= books_before.used or books.horizon ~= books_before.horizon then
      -- The server's clock runs on while a test's stands.
      local slack = ARGV[2] ~= '' and 60000 or 0
      local left = int(math.max(books.horizon - now, 0) + KEPT_MS + 60000 + slack)
      redis.pcall('PEXPIRE', inbox, left)
      redis.pcall('PEXPIRE', order, left)
    end
  end
  if #words > 0 then redis.pcall(ARGV[5], ARGV[4], #words <= WORDS_MAX and table.concat(words, '\n') or '') end
end

-- Whether it holds nothing; then it may go. That the project was deleted is remembered for as long as an inbox is kept.
local function is_idle()
  return books.open == 0 and books.runners == 0 and books.owned == 0
end
local function vanish()
  books.entered = 0
  if books.life > 0 then return end
  redis.pcall('UNLINK', inbox, order)
  is_there = false
end

local function load(field)
  local packed = redis.call('HGET', inbox, field)
  return packed and cmsgpack.unpack(packed) or nil
end
local function save(field, value)
  redis.pcall('HSET', inbox, field, cmsgpack.pack(value))
end
local function body_of(id)
  return redis.call('HGET', inbox, 'b:' .. id) or ''
end

-- Position and note of who stands under a guard's key.
local function guard_of(key)
  local till, position, note = string.match(redis.call('HGET', guards, key) or '', '^(%d+) (%S+) (.*)$')
  if till and tonumber(till) > now then return position, note end
end
local function guard_key(id, item)
  return item and item.guard or 'c:' .. id
end

-- What an item counts with: alarms by the class of their guard, commands that are bound together.
local function counter_of(item)
  if item.guard then return '\1' .. string.match(item.guard, '^[^:]*') end
  return item.bound ~= '' and not item.notice and '\2' or item.capability
end
local function is_asked(item)
  return not item.guard and not item.notice
end

-- Where an item waits; nothing: it is an alarm.
local function place_of(id, item)
  if item.guard then return nil end
  local queue = item.bound ~= '' and 'r:' .. item.bound or 'c:' .. item.capability
  return 'q\0' .. queue .. '\0' .. item.place .. '\0' .. id
end
local function leave_queue(id, item)
  local place = place_of(id, item)
  if place and remove(place) == 1 then books.waiting = books.waiting - 1 end
end
local function join_queue(id, item)
  local place = place_of(id, item)
  if place and not item.past and add(place) then
    books.waiting = books.waiting + 1
    wake(item.bound ~= '' and 'r' .. item.bound or 'c' .. item.capability)
  end
end
-- It is in nobody's hand any more.
local function take_away(id, item)
  if item.runner then
    remove('h\0' .. item.runner .. '\0' .. id)
    wake('h' .. item.runner)
    if item.till then remove('l\0' .. pad(item.till) .. '\0' .. id) end
    item.runner, item.till = nil, nil
  end
end
local function give_back(id, item)
  take_away(id, item)
  join_queue(id, item)
  save('i:' .. id, item)
end
local function drop(id, item)
  take_away(id, item)
  leave_queue(id, item)
  remove('d\0' .. pad(item.deadline) .. '\0' .. id, 'p\0' .. pad(item.deadline) .. '\0' .. id)
  redis.pcall('HDEL', inbox, 'i:' .. id, 'b:' .. id)
  local counter = 'n:' .. counter_of(item)
  if redis.pcall('HINCRBY', inbox, counter, -1) == 0 then redis.pcall('HDEL', inbox, counter) end
  books.open, books.asked = books.open - 1, books.asked - (is_asked(item) and 1 or 0)
end

-- A runner's time is over: what it has not accepted waits again, unless it is bound to it. How many did.
local function lapse(name, runner)
  remove('e\0' .. pad(runner.till) .. '\0' .. name)
  add('x\0' .. pad(runner.till) .. '\0' .. name)
  local hand, given = 'h\0' .. name .. '\0', 0
  for _, member in ipairs(members(hand, -1)) do
    local id = string.sub(member, #hand + 1)
    local item = load('i:' .. id)
    if item and item.till and item.bound == '' then
      give_back(id, item)
      given = given + 1
    end
  end
  return given
end

-- Looks at what became due, about so many things.
local function sweep(budget)
  for _, member in ipairs(until_now('d', budget)) do
    budget = budget - 1
    local id = name_of(member)
    local item = load('i:' .. id)
    remove(member)
    if item and item.notice then
      drop(id, item)
    elseif item then
      item.past = true
      leave_queue(id, item)
      add('p' .. string.sub(member, 2))
      save('i:' .. id, item)
    end
  end
  if budget <= 0 then return end
  for _, member in ipairs(until_now('l', budget)) do
    budget = budget - 1
    local item = load('i:' .. name_of(member))
    if item then give_back(name_of(member), item) else remove(member) end
  end
  if budget <= 0 then return end
  for _, member in ipairs(until_now('e', budget)) do
    if budget <= 0 then return end
    local runner = load('r:' .. name_of(member))
    if runner then budget = budget - 1 - lapse(name_of(member), runner) else remove(member) end
  end
end

-- How an item stands, in three words.
local function standing(item)
  if not item then return 'unknown', '', '' end
  if item.runner and not item.till then return 'accepted', item.runner, '' end
  if item.runner and now < item.till then return 'leased', item.runner, '' end
  return 'queued', '', ''
end

-- Whether forgetting a runner would lose something.
local function has_something(name)
  for _, prefix in ipairs({ 'h\0', 'q\0r:', 's\0', 'g\0' }) do
    if #members(prefix .. name .. '\0', 1) > 0 then return true end
  end
  return false
end

local function owner_member(runner, session, agent)
  if agent == '' then return 's\0' .. runner .. '\0' .. session end
  return 'g\0' .. runner .. '\0' .. session .. '\0' .. agent
end
local function disown(session, agent)
  local held = redis.call('HGET', inbox, 'o:' .. session .. '\0' .. agent)
  if not held then return end
  local name = session .. '\0' .. agent
  redis.pcall('HDEL', inbox, 'o:' .. name)
  remove('a\0' .. string.sub(held, 1, 16) .. '\0' .. name, 't\0' .. name, owner_member(string.sub(held, 17), session, agent))
  books.owned = books.owned - 1
end
