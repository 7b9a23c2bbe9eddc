-- ARGV[1] {event, now, tokens, nanos}.
local event, now, tokens, nanos = unpack(cmsgpack.unpack(ARGV[1]), 1, 4)
now = clock(now)
local exchange = find(event)
if not exchange or exchange[IS_SETTLED] == 1 then
  return 0
end
local counters, seeds = exchange[COUNTERS], exchange[SEEDS]
local states = load(counters, now)
for i, counter in ipairs(counters) do
  local name, state = counter[NAME], states[i] or new(counter)
  take(state, HELD, share(name, 0, exchange[TOKENS], 1, exchange[NANOS]))
  local used = share(name, false, tokens, false, nanos)
  if used then
    settle(counter, state, used, now)
    seeds[i] = state[SEED]
  end
  save(counter, state, now)
end
exchange[TOKENS], exchange[NANOS], exchange[IS_SETTLED], exchange[MOMENT] = tokens, nanos, 1, now
write(event, exchange, now + BOOKING_MS)
return 1
