-- read.lua: entries and head of one moment (docs/log.md L2, L12 to L14).
--
-- KEYS  log, meta, ids, state, guards
-- ARGV  1 newest format known, 2 after | before | tail | head, 3 bound (an event's id, exclusive) or '', 4 bytes at most,
--       5 in a cluster (1 or 0)
--
-- Answers: page HEAD TRIMMED-TO ENTRIES (as XRANGE has them, oldest first) | away ROLE | newer FORMAT

local log, meta, mode, bound, bytes_max = KEYS[1], KEYS[2], ARGV[2], ARGV[3], tonumber(ARGV[4])

local role, incarnation = server()
if role ~= 'master' then return { 'away', role } end
local m = redis.call('HMGET', meta, 'format', 'branch', 'replid', 'last', 'bytes', 'forks', 'checkpoint', 'trimmed',
  'tombstones')
if newer(m) then return { 'newer', m[1] } end
local split = torn(ARGV[5], unpack(KEYS))
if split then return split end

local out, size = {}, 0
-- Takes an entry if it is the first or fits.
local function take(entry)
  local fields, bytes = entry[2], 0
  for i = 1, #fields, 2 do
    if fields[i] == 'events' or fields[i] == 'fork' then bytes = #fields[i + 1] end
  end
  if #out > 0 and size + bytes > bytes_max then return false end
  out[#out + 1] = entry
  size = size + bytes
  return true
end
-- Takes what fits, in steps that aim at what is left: a stream's entries have no common size.
local function range(command, from, to)
  local step = 4
  while true do
    local got = redis.call(command, log, from, to, 'COUNT', step)
    for _, entry in ipairs(got) do
      if not take(entry) then return end
    end
    if #got < step then return end
    from = '(' .. got[#got][1]
    step = math.max(1, math.min(64, math.floor((bytes_max - size) / (size / #out + 1)) + 1))
  end
end

if mode == 'after' then
  range('XRANGE', '(' .. bound, '+')
elseif mode == 'before' and bound ~= '0-0' then
  -- The entry that ends at or above the bound belongs here if it begins below: the bound lies inside.
  local bound_ms, bound_n = id_of(bound)
  local over = redis.call('XRANGE', log, bound, '+', 'COUNT', 1)[1]
  if over then
    local ms, n = id_of(over[1])
    for i = 1, #over[2], 2 do
      if over[2][i] == 'count' then n = n - tonumber(over[2][i + 1]) + 1 end
    end
    if ms < bound_ms or (ms == bound_ms and n < bound_n) then take(over) end
  end
  range('XREVRANGE', '(' .. bound, '-')
elseif mode == 'tail' then
  range('XREVRANGE', '+', '-')
end

if mode ~= 'after' then
  for i = 1, math.floor(#out / 2) do out[i], out[#out + 1 - i] = out[#out + 1 - i], out[i] end
end
return { 'page', head(m, incarnation, m[9]), m[8] or '0-0', out }
