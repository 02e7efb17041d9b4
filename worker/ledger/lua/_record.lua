-- What claims read of a record and return to the child. Put before the scripts that claim.
local FIELDS = {
  'group_losses', 'lost_token', 'lost_at', 'strategy', 'epoch', 'reported_epoch', 'due',
  'earliest_at', 'intake', 'received', 'published', 'progress', 'step', 'lost_call_at', 'losses', 'replays',
}
local GROUP_LOSSES, LOST_TOKEN, LOST_AT, STRATEGY, EPOCH, REPORTED_EPOCH, DUE, EARLIEST_AT = 1, 2, 3, 4, 5, 6, 7, 8
local PROGRESS, STEP, LOST_CALL_AT, LOSSES = 12, 13, 14, 15

local function read_record(m, r) return redis.call('HMGET', record(m, r), unpack(FIELDS)) end

-- When the epoch began, if a call without a trace may have been sent for the shipment before; else 0. That concerns
-- shipments that were leased or due at that moment (`due` is 0 for those that were not parked), and orders that may have
-- been there before and were published again within `republished_ms`.
local function in_doubt_since(known, epoch, epoch_since, due_before, republished_ms)
  if epoch == 0 then return 0 end
  if known[REPORTED_EPOCH] then
    local was_due = (tonumber(known[DUE]) or 0) <= due_before
    return tonumber(known[REPORTED_EPOCH]) < epoch and was_due and epoch_since or 0
  end
  local may_be_older = (tonumber(known[EARLIEST_AT]) or 0) < epoch_since + republished_ms
  return ((tonumber(known[EPOCH]) or 0) < epoch or may_be_older) and epoch_since or 0
end

-- The row of a claimed shipment: see `ClaimedRow` in arguments.py.
local function claimed_row(m, r, known, doubt_since, is_permitted)
  local row = { r, unpack(known, EARLIEST_AT, #FIELDS) }
  row[#row + 1], row[#row + 2], row[#row + 3] = doubt_since, is_permitted and 1 or 0, cancelled_by(m, r)
  return row
end
