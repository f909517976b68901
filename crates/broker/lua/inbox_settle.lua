-- inbox_settle.lua: items leave, or all of the inbox goes. inbox.lua stands before it.
--
-- ARGV  8 settle, then ids; or clear
--
-- Answers: 1

if ARGV[8] == 'clear' then
  redis.call('UNLINK', inbox, order)
  redis.pcall(ARGV[5], ARGV[4], '')
  return 1
end

open(false, false)
for i = 9, #ARGV do
  local item = load('i:' .. ARGV[i])
  if item then
    drop(ARGV[i], item)
    wakes = true
  end
end
close(true)
return 1
