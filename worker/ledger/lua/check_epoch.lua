-- Returns the server's time in milliseconds and its epoch, and starts an epoch after a jump of its clock.
--
-- KEYS: prefix
-- ARGV: EpochArgs. `known_epoch`: '' only to look; else the epoch that the caller knew before the jump, and `until_ms`
--       the time by the clock before it, at the latest
-- Many processes see the same jump: those that see it after it was noted start no further epoch.
local now = clock()
local known_epoch, until_ms = unpack(ARGV, 1, 2)
local epoch, epoch_since, due_before = current_epoch(now)
if known_epoch ~= '' then
  local due_until = tonumber(until_ms) + MAX_CLOCK_STEP_MS
  if epoch <= tonumber(known_epoch) then
    epoch = start_epoch(now, epoch + 1, due_until)
  elseif due_until > due_before then
    start_epoch(epoch_since, epoch, due_until)
  end
end
return { now, epoch }
