-- ARGV[1] {now, token, counter}. The exchanges on it that are not booked, or 0 where nobody is to read the ledger.
local now, token, counter = unpack(cmsgpack.unpack(ARGV[1]), 1, 3)
now = clock(now)
local name = counter[NAME]
local found = redis.call('GET', COUNTER .. name)
local state = found and cmsgpack.unpack(found) or new(counter)
if state[SEED] ~= '' or (state[TOKEN] ~= '' and now < state[BEGUN] + SEEDING_MS) then
  return 0
end
empty(name, state)
state[TOKEN], state[BEGUN] = token, now
save(counter, state, now)
local unbooked = {}
for _, event in ipairs(redis.call('SMEMBERS', USERS_OF .. name)) do
  -- One that Redis has thrown out will never be booked here.
  if redis.call('ZSCORE', LEASES, event) then
    unbooked[#unbooked + 1] = event
  end
end
return unbooked
