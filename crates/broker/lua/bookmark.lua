-- bookmark.lua: where a reader of a project was, kept for a while. common.lua stands before it. src/memory/bookmarks.rs is
-- the same in Rust, but for who goes when there are too many: there the one whose time ends first.
--
-- KEYS  bookmarks, a hash: `:` and reader = `<until ms> <holder> <position or nothing>`
-- ARGV  1 newest format known (not looked at), 2 time or '' (tests only), 3 operation, 4 reader, 5 holder (without blanks),
--       6 ms that it is kept, 7 most bookmarks of a project, 8 ms that one without a position is kept at most, then what it
--       takes:
--   take          -> the position or ''
--   set POSITION  -> 1 | 0 (another one has it)

local key, field, holder = KEYS[1], ':' .. ARGV[4], ARGV[5]
local now, ms, most = clock(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])

local held = redis.call('HGET', key, field)
local till, whose, at = string.match(held or '', '^(%d+) (%S+) (%S*)$')
if not till or tonumber(till) <= now then whose, at = nil, '' end
if ARGV[3] == 'set' then
  if whose and whose ~= holder then return 0 end
  at = ARGV[9]
end

-- One comes, and another one must go: of some that are looked at, one without a position, else the one whose time ends first.
if not held and redis.call('HLEN', key) >= most then
  local some, soonest, first = redis.call('HRANDFIELD', key, 16, 'WITHVALUES'), nil, nil
  for i = 1, #some, 2 do
    local ends = tonumber(string.match(some[i + 1], '^(%d+) %S+ %S') or '0')
    if not first or ends < first then soonest, first = some[i], ends end
  end
  if soonest then redis.call('HDEL', key, soonest) end
end
local kept = at == '' and math.min(ms, tonumber(ARGV[8])) or ms
redis.call('HSET', key, field, int(now + kept) .. ' ' .. holder .. ' ' .. at)
-- The server's clock runs on while a test's stands.
redis.pcall('PEXPIRE', key, int(ms + (ARGV[2] ~= '' and 60000 or 0)))
return ARGV[3] == 'set' and 1 or at
