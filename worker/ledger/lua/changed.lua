-- Tells the server's time and how often it has changed, and notes that its clock has jumped: after that its times say
-- as little as those of another server.
--
-- KEYS: prefix
-- ARGV: '' to look only; else how many changes the caller knew of before the jump, and the time by the clock before it
--       in ms, at the latest
-- Returns the server's time in ms and the number of its changes. Many see the same jump: who saw it after it was noted
-- adds no other one.
local now = clock()
local changes, changed, before = server_changes(now)
if ARGV[1] ~= '' then
  local till = tonumber(ARGV[2]) + OTHER_CLOCK_MS
  if changes <= tonumber(ARGV[1]) then
    changes = note_change(now, changes + 1, till)
  elseif till > before then
    note_change(changed, changes, till)
  end
end
return { now, changes }
