-- append.lua: one call of docs/log.md L4, all or nothing. src/memory/append.rs is the same on plain data.
--
-- KEYS  log, meta, ids, state, guards: all five are made at birth and never deleted (L20)
-- ARGV   1 newest format known      2 writer                   3 number
--        4 branch, or ''            5 fresh branch             6 count of events (0: sync)
--        7 payload                  8 dedupe window, ms        9 dedupe window, ids
--       10 channel                 11 publish command         12 time, or '' (tests only)
--       13 producers at most       14 ranges at most          15 forks at most
--       16 bytes announced at most 17 tombstones at most       18 delete the project (1 or 0)
--       19 replicas are waited for (1 or 0)
--       20 count of ids; then index, id of each;
--          then count of producer steps; then index, producer, epoch, seq, may jump (1 or 0) of each;
--          then count of sessions to delete; then index, session, positions before forks (each behind a comma) of each;
--          session '': the whole project, whose deletion is put back, with the ends that it first stood behind;
--          then count of guards, the longest time of one, ms, and the most there may be; then index, key, until, note of each;
--          last, in a cluster, which fork may be called a move (L8): '?': ask before anything is written; else that from
--          this incarnation, whose node gave up the slot and is a primary still. ''  where there is no cluster
--
-- Answers: claim INCARNATION HERE (a fork is due; nothing was written) |
--          appended LAST COUNT PUBLISH-ERROR | synced HEAD PUBLISH-ERROR | heal HEAD NUMBER LAST COUNT PUBLISH-ERROR |
--          stale NUMBER |
--          refused IDS OTHERS | newer FORMAT | over_share | producers_full

local log, meta, ids, state, guards = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local writer, number, branch, fresh = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local count, payload = tonumber(ARGV[6]), ARGV[7]
local deletes = ARGV[18] == '1'
local acts = count > 0 or deletes
local claim = ARGV[#ARGV]
local window_ms, window_ids = tonumber(ARGV[8]), tonumber(ARGV[9])
local SEQUENCE_MAX = 9007199254740991

local role, incarnation = server()
if role ~= 'master' then
  -- Answers that write nothing would else come from a replica's past.
  return redis.error_reply('READONLY this node is not the primary')
end

local m = redis.call('HMGET', meta, 'format', 'branch', 'replid', 'last', 'bytes', 'forks', 'checkpoint',
  'w:' .. writer, 'ids_head', 'ids_tail', 'ids_count', 'producers', 'refused_until', 'tombstones')
if newer(m) then return { 'newer', m[1] } end
local split = torn(claim ~= '' and '1', log, meta, ids, state, guards)
if split then return split end
local now = clock(ARGV[12])

-- The protobuf message tidings.v1.Message, byte for byte as prost writes it.
local function varint(value)
  local out = {}
  while value >= 128 do
    out[#out + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  out[#out + 1] = string.char(value)
  return table.concat(out)
end
local function text(tag, value)
  return string.char(tag) .. varint(#value) .. value
end
local function publish(position, prev, events, total, tag, body)
  local message = text(0x0a, position) .. text(0x12, prev) .. '\024' .. varint(events)
  if total > 0 then message = message .. '\032' .. varint(total) end
  if body then message = table.concat({ message, string.char(tag), varint(#body), body }) end
  local sent = redis.pcall(ARGV[11], ARGV[10], message)
  -- An ACL that forbids the channel raises only now, behind the first write: it travels beside the answer.
  return type(sent) == 'table' and sent.err or ''
end

-- What is stored is read before the first write: behind it nothing may raise.
local last_ms, last_n = id_of(m[4] or '0-0')
local total = tonumber(m[5] or 0)
local ids_head, ids_tail, stored = tonumber(m[9] or 1), tonumber(m[10] or 1), tonumber(m[11] or 0)
local known, known_last, known_count = 0, '', '0'
if m[8] then
  -- Number, used at, last position, count.
  local a, _, b, c = string.match(m[8], '^(%d+) (%d+) (%S+) (%d+)$')
  known, known_last, known_count = tonumber(a), b, c
end

-- What a fork of this kind is: id and text of its entry, its position, and the list of forks with it.
local function fork(kind)
  local id = int(math.max(now, last_ms)) .. '-' .. int(last_n + 1)
  local note, from = m[2] .. ' ' .. m[4] .. ' ' .. kind, id .. '.' .. fresh
  local forks = {}
  for line in string.gmatch(m[6], '[^\n]+') do forks[#forks + 1] = line end
  forks[#forks + 1] = note .. ' ' .. from
  return id, note, from, table.concat(forks, '\n', math.max(1, #forks - tonumber(ARGV[15]) + 1))
end
local function publish_fork(from, kind)
  return publish(from, m[4], 1, total, 0x32, text(0x0a, m[2]) .. text(0x12, m[4]) .. text(0x1a, kind))
end

-- L11: a WAIT behind an answer that writes nothing would have nothing to wait for.
local function waited()
  if ARGV[19] == '1' then redis.call('HSET', meta, 'waited', int(now)) end
end

-- L4.1: no log is birth; another incarnation is a fork (L8), whose XADD is then the first write.
local opened, fork_error = not m[2] or m[3] ~= incarnation, ''
if not m[2] then
  -- What is there without meta belongs to nobody.
  if redis.call('EXISTS', log, ids, state) > 0 then redis.call('UNLINK', log, ids, state) end
  redis.call('XGROUP', 'CREATE', log, 'birth', '$', 'MKSTREAM')
  redis.pcall('XGROUP', 'DESTROY', log, 'birth')
  redis.pcall('HSET', ids, '.', '')
  redis.pcall('HSET', state, '.', '')
  redis.pcall('HSET', guards, '.', '')
  redis.pcall('HSET', meta, 'format', ARGV[1], 'branch', fresh, 'replid', incarnation, 'last', '0-0', 'bytes', '0',
    'forks', '', 'checkpoint', '0-0', 'version', '0', 'trimmed', '0-0', 'ids_head', '1', 'ids_tail', '1',
    'ids_count', '0', 'producers', '0')
  m[2], m[3], m[6] = fresh, incarnation, ''
elseif opened then
  if claim == '?' then return { 'claim', m[3], incarnation } end
  local kind = claim == m[3] .. ' ' .. incarnation and 'moved' or 'failover'
  local id, note, from, listed = fork(kind)
  redis.call('XADD', log, id, 'branch', fresh, 'prev', m[4], 'count', '1', 'total', int(total), 'fork', note)
  redis.pcall('HSET', meta, 'branch', fresh, 'replid', incarnation, 'last', from, 'forks', listed)
  fork_error = publish_fork(from, kind)
  m[2], m[3], m[4], m[6] = fresh, incarnation, from, listed
end

-- L4.2: the same number, the same answer, before any other check.
if acts and m[8] and number == known then
  waited()
  return { 'appended', known_last, known_count, fork_error }
end

-- L4.3: the branch that the writer takes for open, then the order of its numbers.
if (acts or branch ~= '') and (opened or branch ~= m[2]) then
  -- Behind a fork's entry nothing may raise.
  if m[8] and ARGV[19] == '1' then redis.pcall('HSET', meta, 'waited', int(now)) end
  return { 'heal', head(m, incarnation, m[14]), int(known), known_last, known_count, fork_error }
end
if not acts then return { 'synced', head(m, incarnation, m[14]), fork_error } end
if number <= known then return { 'stale', int(known) } end

-- L19: the project goes, by a fork whose entry is announced and not kept. The trim comes first: what is written behind it
-- passes under OOM too.
if deletes then
  local id, _, from, listed = fork('deleted')
  local conditions, gone = {}, { 'refused_until', 'tombstones' }
  local held = redis.call('HGETALL', guards)
  for i = 1, #held, 2 do
    if held[i] ~= '.' then conditions[#conditions + 1] = held[i] end
  end
  held = redis.call('HGETALL', meta)
  for i = 1, #held, 2 do
    if string.sub(held[i], 1, 2) == 'p:' then gone[#gone + 1] = held[i] end
  end
  redis.call('XTRIM', log, 'MINID', int(math.max(now, last_ms)) .. '-' .. int(last_n + 2))
  sliced('HDEL', guards, conditions)
  -- Emptied in one step, without a moment in which the key is not there (L20).
  redis.pcall('COPY', guards, ids, 'REPLACE')
  redis.pcall('COPY', guards, state, 'REPLACE')
  sliced('HDEL', meta, gone)
  redis.pcall('HSET', meta, 'branch', fresh, 'last', from, 'forks', listed, 'checkpoint', from, 'version', '0',
    'trimmed', from, 'trimmed_bytes', int(total), 'ids_head', '1', 'ids_tail', '1', 'ids_count', '0', 'producers', '0',
    'w:' .. writer, table.concat({ int(number), string.match(id, '^%d+'), from, '1' }, ' '))
  return { 'appended', from, '1', publish_fork(from, 'deleted') }
end

-- L19, L16: the branches in their order, the open one last, and the last position that the log holds (or held) of each.
local places, branch_ends = { [m[2]] = 1 }, { [m[2]] = m[4] or '0-0' }
for line in string.gmatch(m[6] or '', '[^\n]+') do
  local closed, survived = string.match(line, '^(%w+) (%S+)')
  places[closed], branch_ends[closed] = places[m[2]], survived
  places[m[2]] = places[m[2]] + 1
end
local function branch_of(position)
  return string.match(position, '%.(%w+)$')
end
-- Whether what first stood there was deleted with the whole project, by a deletion that was put back.
local function deleted(first)
  local branch, _, n = branch_of(first), id_of(first)
  local place = places[branch] or 0
  for line in string.gmatch(m[14] or '', '[^\n]+') do
    local end_place, end_n
    for at in string.gmatch(string.match(line, '^[^,%s]+,(%S+) $') or '', '[^,]+') do
      local known, _, at_n = branch_of(at), id_of(at)
      if known == branch and n <= at_n then return true end
      if not end_place and places[known] then end_place, end_n = places[known], at_n end
    end
    if end_place and (place < end_place or (place == end_place and n <= end_n)) then return true end
  end
  return false
end

-- L4.4: ids seen before, with their first positions.
local ids_from = 21
local ids_count = tonumber(ARGV[20])
local seen = {}
for from = 0, ids_count - 1, 1000 do
  local fields = {}
  for i = from, math.min(from + 999, ids_count - 1) do fields[#fields + 1] = ':' .. ARGV[ids_from + 2 * i + 1] end
  for i, first in ipairs(redis.call('HMGET', ids, unpack(fields))) do
    if first and not deleted(first) then
      seen[#seen + 1] = ARGV[ids_from + 2 * (from + i - 1)]
      seen[#seen + 1] = first
    end
  end
end

-- Producers (L7). Field: epoch, used at, branch of the last jump or '-', ranges `1-5,8-9`.
local steps_from = ids_from + 2 * ids_count
local steps = tonumber(ARGV[steps_from])
local producers, order, refused, unknown = {}, {}, {}, 0
local function producer(id, epoch)
  local p = producers[id]
  if p then return p end
  local stored = redis.call('HGET', meta, 'p:' .. id)
  if stored then
    local e, jumped, ranges = string.match(stored, '^(%d+) %d+ (%S+) (%S*)')
    p = { epoch = tonumber(e), jumped = jumped, ranges = {} }
    for lo, hi in string.gmatch(ranges, '(%d+)%-(%d+)') do
      p.ranges[#p.ranges + 1] = { tonumber(lo), tonumber(hi) }
    end
  else
    unknown = unknown + 1
    -- One that is new to a log that has forked may be new because of the fork.
    p = { epoch = math.min(epoch, SEQUENCE_MAX), jumped = m[6] == '' and m[2] or '-', ranges = {} }
  end
  producers[id] = p
  order[#order + 1] = id
  return p
end
-- Adds a number to the set; false if that takes too many ranges.
local function add(ranges, seq)
  local at = 1
  while ranges[at] and ranges[at][2] < seq do at = at + 1 end
  local left, right = ranges[at - 1], ranges[at]
  local joins_left = left and left[2] + 1 == seq
  local joins_right = right and seq + 1 == right[1]
  if joins_left and joins_right then
    left[2] = right[2]
    table.remove(ranges, at)
  elseif joins_left then
    left[2] = seq
  elseif joins_right then
    right[1] = seq
  elseif #ranges >= tonumber(ARGV[14]) then
    return false
  else
    table.insert(ranges, at, { seq, seq })
  end
  return true
end
local function take(p, epoch, seq, may_jump)
  if epoch < p.epoch then return 'fenced', int(p.epoch) end
  if epoch > SEQUENCE_MAX then return 'out_of_sequence', '1' end
  if epoch > p.epoch then p.epoch, p.ranges = epoch, {} end
  local expected = (#p.ranges > 0 and p.ranges[#p.ranges][2] or 0) + 1
  if seq == 0 or seq > SEQUENCE_MAX then return 'out_of_sequence', int(expected) end
  for _, range in ipairs(p.ranges) do
    if range[1] <= seq and seq <= range[2] then return 'duplicate', m[4] end
  end
  -- At or below the expected number it goes on, or fills a hole; the first after a fork may jump.
  local in_order = may_jump or seq <= expected
  if not in_order and p.jumped == m[2] then return 'out_of_sequence', int(expected) end
  if not add(p.ranges, seq) then return 'out_of_sequence', int(expected) end
  if not in_order then p.jumped = m[2] end
end
for i = 0, steps - 1 do
  local at = steps_from + 1 + 5 * i
  local epoch = tonumber(ARGV[at + 2])
  local why, value = take(producer(ARGV[at + 1], epoch), epoch, tonumber(ARGV[at + 3]), ARGV[at + 4] == '1')
  if why then
    refused[#refused + 1] = ARGV[at]
    refused[#refused + 1] = why
    refused[#refused + 1] = value
  end
end

-- Guards: whoever stands under a key comes first, unless its time is over or it was deleted with the project.
-- Value: until, position, note.
local deletions_from = steps_from + 5 * steps + 1
local deletions = tonumber(ARGV[deletions_from])
local guards_from = deletions_from + 3 * deletions + 1
local guards_count, guard_ms_max = tonumber(ARGV[guards_from]), tonumber(ARGV[guards_from + 1])
local guarded, guards_kept = {}, 0
if guards_count > 0 then guards_kept = redis.call('HLEN', guards) - redis.call('HEXISTS', guards, '.') end
for i = 0, guards_count - 1 do
  local from = guards_from + 3 + 4 * i
  local key = ARGV[from + 1]
  local value = redis.call('HGET', guards, key)
  local till, first = string.match(value or '', '^(%d+) (%S+) ')
  if not till or tonumber(till) <= now or deleted(first) then first = guarded[key] end
  if first then
    refused[#refused + 1] = ARGV[from]
    refused[#refused + 1] = 'settled'
    refused[#refused + 1] = first
  elseif not value then
    -- Final answers to commands have room where others have none.
    local most = tonumber(ARGV[guards_from + 2]) * (string.sub(key, 1, 2) == 'c:' and 10 or 1)
    guards_kept = guards_kept + 1
    if guards_kept > most then
      refused[#refused + 1] = ARGV[from]
      refused[#refused + 1] = 'guards_full'
      refused[#refused + 1] = int(most)
    end
  end
  guarded[key] = first or m[4]
end
if #seen > 0 or #refused > 0 then
  waited()
  return { 'refused', seen, refused }
end
-- L18: memory is short and the project over its share. What was appended before is acknowledged all the same.
if m[13] and tonumber(m[13]) > now then return { 'over_share' } end
if unknown > 0 and tonumber(m[12]) + unknown > tonumber(ARGV[13]) then return { 'producers_full' } end

local ms, n = math.max(now, last_ms), last_n + count
local id = int(ms) .. '-' .. int(n)
local last = id .. '.' .. m[2]
-- Where an event of this batch will stand.
local function at(index)
  return int(ms) .. '-' .. int(n - (count - 1 - index)) .. '.' .. m[2]
end

-- L19: a tombstone for each deletion. One that first stands here replaces the session's older ones, and needs room.
local tombstones, full, again = {}, {}, nil
if deletions > 0 then
  for line in string.gmatch(m[14] or '', '[^\n]+') do tombstones[#tombstones + 1] = line end
  for i = 0, deletions - 1 do
    local from = deletions_from + 1 + 3 * i
    local session, was = ARGV[from + 1], ARGV[from + 2]
    if was == '' then
      local others = {}
      for _, line in ipairs(tombstones) do
        if string.match(line, '^%S+ (.*)$') ~= session then others[#others + 1] = line end
      end
      tombstones = others
    end
    if was == '' and #tombstones >= tonumber(ARGV[17]) then
      full[#full + 1] = ARGV[from]
      full[#full + 1] = 'deletions_full'
      full[#full + 1] = ARGV[17]
    else
      tombstones[#tombstones + 1] = at(tonumber(ARGV[from])) .. was .. ' ' .. session
      if session == '' then again = was end
    end
  end
  if #full > 0 then return { 'refused', {}, full } end
end

-- L19: what the log holds of before a project's deletion that is put back goes: up to `cut`, whole entries. The state is
-- folded anew from there.
local cut, taken, state_fields, freed = '0-0', nil, {}, {}
if again then
  for position in string.gmatch(again, '[^,]+') do
    local branch = branch_of(position)
    if places[branch] then
      local _, n = id_of(position)
      local _, end_n = id_of(branch_ends[branch])
      cut = n < end_n and position or branch_ends[branch]
      break
    end
  end
  -- Never before a deletion that stands.
  for from in string.gmatch(m[6], ' deleted (%S+)') do
    local _, n = id_of(from)
    local _, cut_n = id_of(cut)
    if n > cut_n then cut = from end
  end
  taken = redis.call('XREVRANGE', log, string.match(cut, '^[^.]+'), '-', 'COUNT', 1)[1]
  for _, field in ipairs(redis.call('HKEYS', state)) do
    if field ~= '.' then state_fields[#state_fields + 1] = field end
  end
  m[14] = table.concat(tombstones, '\n')
  local held = redis.call('HGETALL', guards)
  for i = 1, #held, 2 do
    local first = string.match(held[i + 1], '^%d+ (%S+) ')
    if first and deleted(first) then freed[#freed + 1] = held[i] end
  end
end

-- L4.5: the first write. Until here nothing happened, whatever error is raised.
total = total + #payload
redis.call('XADD', log, id, 'branch', m[2], 'prev', m[4], 'count', int(count), 'total', int(total), 'events', payload)

-- L4.6: nothing may raise any more.
sliced('HDEL', guards, freed)
-- Ids: a field each, and one chunk that names them for their expiry.
if ids_count > 0 then
  local pairs_, chunk = {}, { int(ms) }
  for i = 0, ids_count - 1 do
    local index, name = tonumber(ARGV[ids_from + 2 * i]), ARGV[ids_from + 2 * i + 1]
    pairs_[#pairs_ + 1] = ':' .. name
    pairs_[#pairs_ + 1] = at(index)
    chunk[#chunk + 1] = name
  end
  pairs_[#pairs_ + 1] = '#' .. int(ids_tail)
  pairs_[#pairs_ + 1] = table.concat(chunk, '\n')
  sliced('HSET', ids, pairs_)
  ids_tail, stored = ids_tail + 1, stored + ids_count
end
-- A guard for each event that stands under a key now.
if guards_count > 0 then
  local pairs_ = {}
  for i = 0, guards_count - 1 do
    local from = guards_from + 3 + 4 * i
    local till = math.min(tonumber(ARGV[from + 2]), now + guard_ms_max)
    if till > now then
      pairs_[#pairs_ + 1] = ARGV[from + 1]
      pairs_[#pairs_ + 1] = int(till) .. ' ' .. at(tonumber(ARGV[from])) .. ' ' .. ARGV[from + 3]
    end
  end
  sliced('HSET', guards, pairs_)
end
-- Due chunks go from the oldest on: twice as many ids as came, and at least one chunk.
local removed = 0
while ids_head < ids_tail do
  local field = '#' .. int(ids_head)
  local chunk = redis.pcall('HGET', ids, field)
  if type(chunk) ~= 'string' then chunk = '0' end
  if stored <= window_ids and tonumber(string.match(chunk, '^%d+') or 0) + window_ms >= ms then break end
  local fields = {}
  for name in string.gmatch(chunk, '\n([^\n]*)') do fields[#fields + 1] = ':' .. name end
  removed, stored = removed + #fields, stored - #fields
  fields[#fields + 1] = field
  sliced('HDEL', ids, fields)
  ids_head = ids_head + 1
  if removed >= 2 * ids_count then break end
end

local fields = {
  'last', last, 'bytes', int(total), 'w:' .. writer,
  table.concat({ int(number), int(ms), last, int(count) }, ' '),
  'ids_head', int(ids_head), 'ids_tail', int(ids_tail), 'ids_count', int(stored),
}
for _, name in ipairs(order) do
  local p, ranges = producers[name], {}
  for i, range in ipairs(p.ranges) do ranges[i] = int(range[1]) .. '-' .. int(range[2]) end
  fields[#fields + 1] = 'p:' .. name
  fields[#fields + 1] = table.concat({ int(p.epoch), int(ms), p.jumped, table.concat(ranges, ',') }, ' ')
end
if deletions > 0 then
  fields[#fields + 1] = 'tombstones'
  fields[#fields + 1] = table.concat(tombstones, '\n')
end
if again then
  if taken then
    local taken_fields = {}
    for i = 1, #taken[2], 2 do taken_fields[taken[2][i]] = taken[2][i + 1] end
    local taken_ms, taken_n = id_of(taken[1])
    redis.pcall('XTRIM', log, 'MINID', int(taken_ms) .. '-' .. int(taken_n + 1))
    cut = taken[1] .. '.' .. taken_fields.branch
    redis.pcall('HSET', meta, 'trimmed', cut, 'trimmed_bytes', taken_fields.total)
  end
  sliced('HDEL', state, state_fields)
  redis.pcall('HSET', meta, 'checkpoint', cut, 'version', '0')
end
if unknown > 0 then
  fields[#fields + 1] = 'producers'
  fields[#fields + 1] = int(tonumber(m[12]) + unknown)
end
sliced('HSET', meta, fields)

-- A big entry is only named: a message of many MiB would close its subscribers.
local body = #payload <= tonumber(ARGV[16]) and payload or nil
return { 'appended', last, int(count), publish(last, m[4], count, total, 0x2a, body) }
