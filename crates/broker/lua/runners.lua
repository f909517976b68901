-- runners.lua: runners of a project that are there; stands before the scripts that touch them. src/memory/presence.rs is
-- the same in Rust. The hash is there for as long as somebody may know its version:
--
--   `.` = `<version> <ms of the next lapse, or before it>`; `:<runner>` = `<since ms> <until ms> <bytes of the subject> <subject><record>`
--
-- The version is never behind the clock, so that one from before a loss does not come again.

-- Since when, until when, and where the subject and the record begin, if the runner is there now. One whose time ends too
-- far ahead was put by a clock that went back since.
local function runner(value, now, longest)
  local since, till, bytes, subject = string.match(value or '', '^(%d+) (%d+) (%d+) ()')
  till = tonumber(till)
  if till and now < till and till <= now + longest then return since, till, subject, subject + tonumber(bytes) end
end

-- Version and next lapse; 0 and nothing when there was nobody for long.
local function runner_books(key)
  local version, lapse = string.match(redis.call('HGET', key, '.') or '', '^(%d+) (%d+)$')
  return tonumber(version) or 0, tonumber(lapse)
end

local function set_runner_books(key, version, lapse)
  redis.pcall('HSET', key, '.', int(version) .. ' ' .. int(lapse))
end

-- Removes whose time is over. Who is left (name, since, record, ...), so many at most, the first by name as the server
-- sorts them; how many more; the version and the next lapse after it.
local function sweep_runners(key, now, longest, version, most)
  local fields, places, gone, lapse = {}, {}, {}, now + longest
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if all[i] ~= '.' then
      local since, till = runner(all[i + 1], now, longest)
      if since then
        fields[#fields + 1], places[all[i]] = all[i], i + 1
        lapse = math.min(lapse, till)
      else
        gone[#gone + 1] = all[i]
      end
    end
  end
  if #gone > 0 then
    version = math.max(now, version + 1)
    sliced('HDEL', key, gone)
  end
  set_runner_books(key, version, lapse)
  local count, list = math.min(#fields, most), {}
  if count < #fields and count > 0 then table.sort(fields) end
  for i = 1, count do
    local value, at = all[places[fields[i]]], #list
    local since, _, _, record = runner(value, now, longest)
    list[at + 1], list[at + 2], list[at + 3] = string.sub(fields[i], 2), since, string.sub(value, record)
  end
  return list, #fields - count, version, lapse
end
