-- inbox_settle.lua: items leave, or all of the inbox goes. inbox.lua stands before it.
--
-- ARGV  8 settle, then ids; or clear: the project was deleted, and what was put before is not put again
--
-- Answers: 1

if ARGV[8] == 'clear' then
  open(false, false)
  redis.pcall('UNLINK', inbox, order)
  local life = math.max(books.life + 1, now)
  for _, name in ipairs(BOOKS) do books[name], books_before[name] = 0, nil end
  books.life, is_there = life, true
  add('.')
  wake('')
  close(true)
  return 1
end

open(false, false)
for i = 9, #ARGV do
  local item = load('i:' .. ARGV[i])
  if item then
    drop(ARGV[i], item)
    wake('g' .. guard_key(ARGV[i], item))
  end
end
close(true)
return 1
