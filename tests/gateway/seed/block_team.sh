# Revoke all team keys if needed
curl -X POST http://localhost:4000/team/block \
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \
  -H "Content-Type: application/json" \
  -d '{"team_id": "team-123"}'
