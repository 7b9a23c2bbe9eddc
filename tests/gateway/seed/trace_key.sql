-- Trace all requests from compromised key
SELECT 
  request_id,
  model,
  "user",
  spend,
  "startTime",
  messages
FROM "LiteLLM_SpendLogs"
WHERE api_key = 'hashed-key'
ORDER BY "startTime" DESC;
