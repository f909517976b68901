-- checkpoint.lua: one step of the fold (docs/log.md L17): compare, trim, write; all or nothing.
--
-- KEYS  log, meta, state
-- ARGV   1 newest format known   2 time, or '' (tests only)    3 incarnation read together with `from`
--        4 from                  5 to                          6 version of the rules
--        7 hard (1 or 0)         8 events kept                 9 bytes kept
--       10 age kept, ms         11 entries trimmed at most    12 bytes trimmed at most
--       13 ms that the tombstone of a deletion that was put back outlives its entry
--       14 in a cluster (1 or 0)
--       15 newest deletion of the whole project that the fold knows of, or ''
--       16 count of fields to set; name, value of each; then the names to delete
--
-- Answers: done TRIMMED MORE (1: the bounds of a step ended the trim) | moved | newer_version VERSION | newer FORMAT

local log, meta, state = KEYS[1], KEYS[2], KEYS[3]
local from, to, version, hard = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'

local role, incarnation = server()
if role ~= 'master' then return redis.error_reply('READONLY this node is not the primary') end
local m = redis.call('HMGET', meta, 'format', 'branch', 'replid', 'last', 'bytes', 'forks', 'checkpoint', 'version',
  'trimmed', 'tombstones')
if newer(m) then return { 'newer', m[1] } end
local split = torn(ARGV[14], log, meta, state)
if split then return split end

-- The server's incarnation, not meta's: meta learns of a change only with the next append.
if not m[2] or incarnation ~= ARGV[3] then return { 'moved' } end
if not hard and tonumber(m[8]) > version then return { 'newer_version', m[8] } end

-- Whether the log holds (or held) the position; one that it does not was read from another log.
local function holds(position)
  local _, n = id_of(position)
  if n == 0 then return true end
  local branch = string.match(position, '%.(%w+)$')
  for line in string.gmatch(m[6], '[^\n]+') do
    local closed, survived = string.match(line, '^(%w+) (%S+)')
    if closed == branch and branch ~= m[2] then
      local _, survived_n = id_of(survived)
      return n <= survived_n
    end
  end
  local _, last_n = id_of(m[4])
  return branch == m[2] and n <= last_n
end
-- A deletion of the whole project that was put back (its line names no session) empties the checkpoint, and may leave it
-- where it stood.
local deletion = ''
for line in string.gmatch(m[10] or '', '[^\n]+') do
  if string.find(line, ' $') then deletion = string.match(line, '^[^ ,]+') end
end
if m[7] ~= from or deletion ~= ARGV[15] or not holds(to) then return { 'moved' } end

-- The oldest entries that exceed any bound, none above `to`. In hard trims the fold failed: twice the bounds, no `to`.
local times = hard and 2 or 1
local events, bytes, age = tonumber(ARGV[8]) * times, tonumber(ARGV[9]) * times, tonumber(ARGV[10]) * times
local entries_max, bytes_max = tonumber(ARGV[11]), tonumber(ARGV[12])
local now = clock(ARGV[2])
local _, to_n = id_of(to)
local _, last_n = id_of(m[4])
local last_total = tonumber(m[5])
local trimmed, weighed, trimmed_to, trimmed_total, cut, cursor, left_over = 0, 0, m[9], nil, '0-0', '-', 0
local function goes(entry)
  local ms, n = id_of(entry[1])
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  local weight = fields.events and #fields.events or 0
  local exceeds = last_n - (n - tonumber(fields.count)) > events
    or last_total + weight - tonumber(fields.total) > bytes
    or ms + age < now
  if not exceeds or (n > to_n and not hard) then return false end
  if trimmed >= entries_max or weighed >= bytes_max then
    left_over = 1
    return false
  end
  trimmed, weighed, trimmed_total = trimmed + 1, weighed + weight, fields.total
  trimmed_to, cut = entry[1] .. '.' .. fields.branch, int(ms) .. '-' .. int(n + 1)
  return true
end
local more = true
while more do
  local got = redis.call('XRANGE', log, cursor, '+', 'COUNT', 8)
  more = #got == 8
  for _, entry in ipairs(got) do
    if not goes(entry) then
      more = false
      break
    end
    cursor = '(' .. entry[1]
  end
end

-- The trim comes first even where it removes nothing: what is written behind it then passes under OOM too.
redis.call('XTRIM', log, 'MINID', cut)
redis.pcall('HSET', meta, 'trimmed', trimmed_to)
if trimmed_total then redis.pcall('HSET', meta, 'trimmed_bytes', trimmed_total) end
-- L19: a tombstone goes with the last event that it may cover.
if m[10] and m[10] ~= '' then
  local start_ms, start_n = id_of(trimmed_to)
  local kept = {}
  for line in string.gmatch(m[10], '[^\n]+') do
    local ms, n = id_of(line)
    local waits = string.find(line, '^%S*,') and ms + tonumber(ARGV[13]) >= start_ms
    if n > start_n or waits then kept[#kept + 1] = line end
  end
  redis.pcall('HSET', meta, 'tombstones', table.concat(kept, '\n'))
end
if not hard then
  redis.pcall('HSET', meta, 'checkpoint', to, 'version', int(version))
  local sets, deletes, at = {}, {}, 17
  for _ = 1, tonumber(ARGV[16]) do
    sets[#sets + 1] = ':' .. ARGV[at]
    sets[#sets + 1] = ARGV[at + 1]
    at = at + 2
  end
  for i = at, #ARGV do deletes[#deletes + 1] = ':' .. ARGV[i] end
  sliced('HDEL', state, deletes)
  sliced('HSET', state, sets)
end
return { 'done', int(trimmed), int(left_over) }
