# Delete user data
curl -X DELETE http://localhost:4000/user/delete \
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \
  -H "Content-Type: application/json" \
  -d '{"user_id": "user@company.com"}'
