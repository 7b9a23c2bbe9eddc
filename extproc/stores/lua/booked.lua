-- ARGV[1] {now, {{event, tokens, nanos, new, scopes}, …}}; `new` is 1 or 0.

-- The ledger has it. Where that is not what was counted, the counter must be read anew.
local function book(event, counter, state, exchange, seed, used, now, truth)
  local name, moment, there = counter[NAME], exchange[MOMENT], false
  local tokens_or_nanos = share(name, false, exchange[TOKENS], false, exchange[NANOS])
  if not tokens_or_nanos then
    moment = exchange[OPENED]
    there = drop(state, exchange[REQUEST], seed)
  elseif exchange[IS_SETTLED] == 1 then
    there = drop(state, tokens_or_nanos, seed)
  else
    moment = now
    take(state, HELD, tokens_or_nanos)
  end
  take(state, USERS, redis.call('SREM', USERS_OF .. name, event))
  if truth and not there then
    -- Whoever read the ledger, or reads it, has left it out.
    use(counter, state, used, moment, now)
  elseif not truth and (counter[UNTIL] ~= ROLLING or recent(moment, now)) then
    unseed(name, state)
  end
end

local function book_known(event, exchange, tokens, nanos, new_there, now)
  local settled = exchange[IS_SETTLED] == 1
  local truth = new_there == 1 and (not settled or (tokens == exchange[TOKENS] and nanos == exchange[NANOS]))
  local states, counted = load(exchange[COUNTERS], now), {}
  for i, counter in ipairs(exchange[COUNTERS]) do
    local state, name = states[i] or new(counter), counter[NAME]
    counted[name] = true
    if counter[UNTIL] ~= GAUGE then
      book(event, counter, state, exchange, exchange[SEEDS][i], share(name, 1, tokens, 1, nanos), now, truth)
    elseif not settled then
      take(state, HELD, 1)
    end
    save(counter, state, now)
  end
  return counted
end

local now, bookings = unpack(cmsgpack.unpack(ARGV[1]), 1, 2)
now = clock(now)
for _, booking in ipairs(bookings) do
  local event, tokens, nanos, new_there, scopes = unpack(booking)
  local exchange, known = find(event)
  if exchange or not known then
    local counted = exchange and book_known(event, exchange, tokens, nanos, new_there, now) or {}
    -- What the ledger has is known only where it is new there: otherwise it may be of everything.
    local least = 1 - new_there
    for _, scope in ipairs(scopes) do
      -- Nobody can tell whether what the others were read from had this exchange.
      unseed_scope(scope, function(name)
        return not counted[name] and share(name, 1, math.max(least, tokens), 0, math.max(least, nanos)) > 0
      end)
    end
    redis.call('SET', EXCHANGE .. event, 'booked', 'PX', REMEMBER_MS)
    redis.call('DEL', DRAFT .. event)
    redis.call('ZREM', LEASES, event)
  end
end
return 1
