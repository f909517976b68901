-- inbox_look.lua: how commands stand, what one of them is, or who stands under a guard's key. inbox.lua stands before it.
--
-- ARGV  8 look, then ids; or find, then an id; or guard, then a key
--
-- Answers: three words of each; three words, asker, body of what is found, or nothing; of a guard: position, note, or nothing

if ARGV[8] == 'guard' then
  local position, note = guard_of(ARGV[9])
  return position and { position, note } or {}
end

open(false, false)
sweep(SWEPT_MAX)
if ARGV[8] == 'find' then
  local item = load('i:' .. ARGV[9])
  if item and guard_of(guard_key(ARGV[9], item)) then
    drop(ARGV[9], item)
    item = nil
  end
  close(false)
  local kind, runner, none = standing(item)
  return item and { kind, runner, none, item.asker, body_of(ARGV[9]) } or {}
end
local answers = {}
for i = 9, #ARGV do
  local id = ARGV[i]
  local item = load('i:' .. id)
  local position, note = guard_of(guard_key(id, item))
  if position and item then drop(id, item) end
  if position then
    answers[#answers + 1] = { 'answered', position, note }
  else
    answers[#answers + 1] = { standing(item) }
  end
end
close(false)
return answers
