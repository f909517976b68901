-- inbox_runner.lua: runners that go, and what they publish for. inbox.lua stands before it.
--
-- ARGV  8 leave, then runner, subject
--         forget, most agents of a runner at once; then runner, until, count of sessions, sessions of each
--         own, most that are known, most agents of a session at once; then session, agent, runner (or '': nobody), weak (1
--         or 0) of each
--         entered: the index has the project
--
-- Answers: 1

local op = ARGV[8]

if op == 'own' then
  local claims_only = #ARGV > 10
  for i = 14, #ARGV, 4 do claims_only = claims_only and ARGV[i] == '1' end
  if claims_only and redis.call('EXISTS', inbox) == 0 then return 1 end
  open(true, true)
  local owned_max, agents_max = tonumber(ARGV[9]), int(tonumber(ARGV[10]))
  local function own(session, agent, runner)
    local name = session .. '\0' .. agent
    if #name == 1 then return end
    disown(session, agent)
    books.heard, books.owned = books.heard + 1, books.owned + 1
    redis.pcall('HSET', inbox, 'o:' .. name, pad(books.heard) .. runner)
    add('a\0' .. pad(books.heard) .. '\0' .. name)
    add('t\0' .. name)
    add(owner_member(runner, session, agent))
    if books.owned > owned_max then
      local oldest = members('a\0', 1)[1]
      local whose, which = string.match(name_of(oldest), '^(%Z*)%z(%Z*)$')
      disown(whose, which)
    end
  end
  local function is_free(session, agent, runner)
    local held = redis.call('HGET', inbox, 'o:' .. session .. '\0' .. agent)
    return not held or string.sub(held, 17) == runner
  end
  -- A weak claim takes nothing that is another's, and only for a runner that is there.
  local function stands(session, agent, runner)
    local known = load('r:' .. runner)
    return known and now < known.till and is_free(session, agent, runner) and is_free(session, '', runner)
  end
  for i = 11, #ARGV, 4 do
    local session, agent, runner = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if runner ~= '' and ARGV[i + 3] == '1' and not stands(session, agent, runner) then
      -- Nothing changes.
    elseif runner ~= '' then
      if session ~= '' and agent ~= '' then own(session, '', runner) end
      own(session, agent, runner)
    elseif agent ~= '' then
      disown(session, agent)
    elseif session ~= '' then
      local prefix = 't\0' .. session .. '\0'
      for _, member in ipairs(members(prefix, agents_max)) do disown(session, string.sub(member, #prefix + 1)) end
    end
  end
  close(true)
  return 1
end

open(false, false)

if op == 'leave' then
  sweep(SWEPT_MAX)
  local runner = load('r:' .. ARGV[9])
  local was_there = runner and runner.subject == ARGV[10] and now < runner.till
  if was_there then
    remove('e\0' .. pad(runner.till) .. '\0' .. ARGV[9])
    runner.till = now
    save('r:' .. ARGV[9], runner)
    lapse(ARGV[9], runner)
  end
  close(true)
  return was_there and 1 or 0
elseif op == 'forget' then
  local i = 10
  while i <= #ARGV do
    local name, till, count = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local runner = load('r:' .. name)
    if runner and runner.till == till and till <= now then
      for at = i + 3, i + 2 + count do
        local held = redis.call('HGET', inbox, 'o:' .. ARGV[at] .. '\0')
        if held and string.sub(held, 17) == name then disown(ARGV[at], '') end
      end
      local prefix = 'g\0' .. name .. '\0'
      for _, member in ipairs(members(prefix, ARGV[9])) do
        disown(string.match(string.sub(member, #prefix + 1), '^(%Z*)%z(%Z*)$'))
      end
      if not has_something(name) then
        redis.pcall('HDEL', inbox, 'r:' .. name)
        remove('e\0' .. pad(till) .. '\0' .. name, 'x\0' .. pad(till) .. '\0' .. name)
        for capability in string.gmatch(runner.capabilities, '[^\n]+') do remove('c\0' .. capability .. '\0' .. name) end
        books.runners = books.runners - 1
      end
    end
    i = i + 3 + count
  end
  close(false)
elseif op == 'entered' then
  if is_there then books.entered = now end
  close(false)
end
return 1
