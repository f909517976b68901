-- common.lua: stands before every script that touches a project's keys. docs/redis-keyspace.md describes the fields.
--
-- Every such script gets as ARGV[1] the newest format that the caller knows and refuses a log of a newer one, and
-- believes only a node that says role:master in the same step. Numbers stay below 2^53, where doubles are exact.

-- An integer as text: tostring() would write 1e+15.
local function int(number)
  return string.format('%.0f', number)
end

-- Role and incarnation of the server that runs this. Read in every call: a restart or a promotion changes
-- master_replid, and a connection can outlive that.
local function server()
  local info = redis.call('INFO', 'replication')
  return string.match(info, 'role:(%a+)'), string.match(info, 'master_replid:(%x+)')
end

-- Milliseconds since the Unix epoch; tests pass their own time.
local function clock(override)
  if override ~= '' then return tonumber(override) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The numbers of a position `<ms>-<n>.<branch>`.
local function id_of(position)
  local ms, n = string.match(position, '^(%d+)%-(%d+)')
  return tonumber(ms), tonumber(n)
end

-- The fields of meta that a head is made of, in this order.
local HEAD = { 'format', 'branch', 'replid', 'last', 'bytes', 'forks', 'checkpoint' }

-- A head as it is answered, from the values of HEAD, the server's incarnation and the field `tombstones`.
local function head(values, incarnation, tombstones)
  return {
    incarnation, values[2] or '', values[3] or '', values[4] or '0-0', values[5] or '0', values[6] or '',
    values[7] or '0-0', tombstones or '',
  }
end

local function newer(values)
  return values[1] and tonumber(values[1]) > tonumber(ARGV[1])
end

-- L20: a project has all of its keys or none. In a cluster ('1') a part of them belongs to a slot whose move stopped
-- half-way: what is missing is elsewhere, and must be neither missed nor made anew.
local function torn(clustered, ...)
  if clustered ~= '1' then return nil end
  local there = redis.call('EXISTS', ...)
  if there == 0 or there == select('#', ...) then return nil end
  return redis.error_reply('TRYAGAIN a part of the keys is on another node')
end

-- Calls `command key ...` with a long list in slices: unpack fails near 8,000 values. The slices are even, so that
-- pairs stay together. Through pcall: it stands behind a first write.
local function sliced(command, key, list)
  for from = 1, #list, 1000 do
    redis.pcall(command, key, unpack(list, from, math.min(from + 999, #list)))
  end
end
