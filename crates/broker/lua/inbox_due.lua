-- inbox_due.lua: what somebody must act upon. inbox.lua stands before it.
--
-- ARGV  8 how many of each are told at most
--
-- Answers: is it there (1 or 0), open, waiting, runners, ms until more (-1: nothing is kept); then lists: id, alarm (1 or 0),
--          asker, runner, body of what is past its deadline, and of what is lost; runner, until, sessions of the lapsed

local most = tonumber(ARGV[8])

open(false, false)
sweep(10 * SWEPT_MAX)

local function tell(id, item, told)
  if guard_of(guard_key(id, item)) then return drop(id, item) end
  local at = #told
  told[at + 1], told[at + 2], told[at + 3] = id, item.guard and '1' or '0', item.asker
  told[at + 4], told[at + 5] = item.runner or item.bound, body_of(id)
end

local expired, lost, lapsed, more = {}, {}, {}, false
local past = members('p\0', most)
more = #past == most
for _, member in ipairs(past) do
  local item = load('i:' .. name_of(member))
  if item then tell(name_of(member), item, expired) else remove(member) end
end

local sessions_max = most
local gone = members('x\0', most)
more = more or #gone == most
for _, member in ipairs(gone) do
  local name = name_of(member)
  local hand, bound = 'h\0' .. name .. '\0', 'q\0r:' .. name .. '\0'
  local ids = {}
  for _, held in ipairs(members(hand, 1000)) do ids[#ids + 1] = string.sub(held, #hand + 1) end
  for _, held in ipairs(members(bound, 1000)) do ids[#ids + 1] = string.sub(held, #bound + 19) end
  for _, id in ipairs(ids) do
    if #lost == 5 * most then
      more = true
      break
    end
    local item = load('i:' .. id)
    if item and not item.past and (item.bound ~= '' or not item.till) then tell(id, item, lost) end
  end
  local whole, sessions = 's\0' .. name .. '\0', {}
  if sessions_max > 0 then
    for _, held in ipairs(members(whole, sessions_max)) do sessions[#sessions + 1] = string.sub(held, #whole + 1) end
  end
  sessions_max = sessions_max - #sessions
  local at = #lapsed
  lapsed[at + 1], lapsed[at + 2], lapsed[at + 3] = name, int(ms_of(member)), sessions
end

local next_ms = -1
for _, kind in ipairs({ 'd', 'l', 'e' }) do
  local first = members(kind .. '\0', 1)[1]
  if first then
    local left = math.max(ms_of(first) - now, 0)
    next_ms = next_ms < 0 and left or math.min(next_ms, left)
  end
end
if next_ms < 0 and (books.open > 0 or #members('x\0', 1) > 0) then next_ms = 1000 end
if more or sessions_max == 0 then next_ms = 0 end
local runners = redis.call('ZLEXCOUNT', order, '[e\0' .. pad(now + 1), '(e\0\255')
local holds = is_there and not is_idle()
if is_idle() then vanish() end
close(false)
return {
  holds and 1 or 0, int(books.open), int(books.waiting), int(runners), int(next_ms), expired, lost, lapsed,
}
