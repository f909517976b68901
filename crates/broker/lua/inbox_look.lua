-- inbox_look.lua: how commands stand, or who stands under a guard's key. inbox.lua stands before it.
--
-- ARGV  8 look, then ids; or guard, then a key
--
-- Answers: three words of each; of a guard: position, note, or nothing

if ARGV[8] == 'guard' then
  local position, note = guard_of(ARGV[9])
  return position and { position, note } or {}
end

open(false, false)
sweep(SWEPT_MAX)
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
