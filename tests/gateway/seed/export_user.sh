# Export user data
curl http://localhost:4000/user/user@company.com \
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \
  > user_data.json
