-- state.lua: checkpoint fields and head of one moment (docs/log.md L17).
--
-- KEYS  meta, state, log, ids, guards
-- ARGV  1 newest format known, 2 in a cluster (1 or 0), 3 all | named, then the names
--
-- Answers: state HEAD VERSION FIELDS (name, value, ...) | away ROLE | newer FORMAT

local meta, state = KEYS[1], KEYS[2]

local role, incarnation = server()
if role ~= 'master' then return { 'away', role } end
local m = redis.call('HMGET', meta, 'format', 'branch', 'replid', 'last', 'bytes', 'forks', 'checkpoint', 'version',
  'tombstones')
if newer(m) then return { 'newer', m[1] } end
local split = torn(ARGV[2], unpack(KEYS))
if split then return split end

local fields = {}
if ARGV[3] == 'all' then
  fields = redis.call('HGETALL', state)
else
  for from = 4, #ARGV, 1000 do
    local names = {}
    for i = from, math.min(from + 999, #ARGV) do names[#names + 1] = ':' .. ARGV[i] end
    for i, value in ipairs(redis.call('HMGET', state, unpack(names))) do
      if value then
        fields[#fields + 1] = names[i]
        fields[#fields + 1] = value
      end
    end
  end
end
return { 'state', head(m, incarnation, m[9]), m[8] or '0', fields }
