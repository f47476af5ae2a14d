#!/bin/sh
# Call every flow of the API with curl, print each request and response, and stop at the first unexpected one.
#
#   make run     in one terminal
#   make tour    in another, with the same settings
#
# It creates users named `tour-…` and items named `Tour …`, and deletes them at the end.
set -eu

base=${1:-http://127.0.0.1:8000}
api=$base/api/v1
run=$(date +%s)
user=tour-$run
admin=tour-admin-$run
secret() { python -c 'import secrets; print(secrets.token_urlsafe(16))'; }
password=$(secret) new_password=$(secret)
type=application/json
cookies='' csrf='' header=''
count=0
newline='
'

chapter() { printf '\n\033[1m%s\033[0m\n' "$*"; }
surprise() { printf '\n\033[31mUnexpected:\033[0m %s\n' "$*" >&2; exit 1; }
shorten() { sed 's/eyJ[A-Za-z0-9_-]\{6\}[A-Za-z0-9_.-]*/eyJ…/g; s/'"$password"'/…/g; s/'"$new_password"'/…/g'; }

# field NAME: the last value of that name in the last response.
field() { printf '%s' "$answer" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# call METHOD PATH STATUS TEXT [TOKEN [BODY]]: send, print, and compare; `-` is no token.  A body has the type $type,
# and $header is sent too.
call() {
    method=$1 path=$2 status=$3 text=$4 token=${5:--} body=${6:-}
    set --
    [ -z "$csrf" ] || set -- "$@" -H "X-CSRF-TOKEN: $csrf"
    [ -z "$header" ] || set -- "$@" -H "$header"
    [ "$token" = - ] || set -- "$@" -H "Authorization: Bearer $token"
    [ -z "$body" ] || set -- "$@" -H "Content-Type: $type" -d "$body"
    shown="\$ curl -X $method $path"
    for word in "$@"; do
        case $word in -*) shown="$shown $word" ;; *) shown="$shown '$(printf '%.200s' "$word")'" ;; esac
    done
    answer=$(curl -sS -X "$method" -w '\n%{http_code}' $cookies "$@" "$base$path") || surprise "no response"
    got=${answer##*"$newline"}
    answer=${answer%"$newline"*} answer=${answer%"$newline"}
    printf '\n%s\n%s %s\n' "$shown" "$got" "$answer" | shorten
    [ "$got" = "$status" ] || surprise "the status is $got, not $status"
    case $answer in *"$text"*) ;; *) surprise "the response does not contain $text" ;; esac
    count=$((count + 1))
}

curl -sf -o /dev/null "$base/health/ready" || surprise "no ready server at $base: start one with \`make run\`"

chapter 'Sign up and log in'
credentials="{\"username\": \"$user\", \"password\": \"$password\"}"
call GET / 200 '"openapi"'
call POST /api/v1/auth/register 201 '"refresh_token"' - "$credentials"
call POST /api/v1/auth/register 409 username_taken - "$credentials"
call POST /api/v1/auth/login 401 invalid_credentials - "{\"username\": \"$user\", \"password\": \"wrong wrong\"}"
call POST /api/v1/auth/login 200 '"expires_in":900' - "$credentials"
access=$(field access_token) first_refresh=$(field refresh_token)
call GET /api/v1/users/me 200 "$user" "$access"
call GET /api/v1/auth/session 200 '"is_fresh":true' "$access"
call GET /api/v1/users/me 401 authorization_required

chapter 'Items: as a visitor and as a user'
call POST /api/v1/items 201 '"price":"19.90"' "$access" "{\"name\": \"Tour lamp $run\", \"price\": \"19.9\"}"
item=$(field id)
call GET /api/v1/items 200 'More data available if you log in.'
call GET "/api/v1/items?limit=100" 200 '"price"' "$access"
call PATCH "/api/v1/items/$item" 200 '"price":"24.50"' "$access" '{"price": "24.50"}'
call POST /api/v1/items 409 item_exists "$access" "{\"name\": \"Tour lamp $run\", \"price\": \"1\"}"
call GET "/api/v1/items?q=LAMP%20$run&owner=me&min_price=20&sort=-price" 200 '"price":"24.50"' "$access"
call GET '/api/v1/items?sort=price' 401 authorization_required
call GET '/api/v1/items?sort=colour' 422 'created_at' "$access"

chapter 'Concurrent changes and repeated requests'
tag=$(curl -sS -o /dev/null -D - -H "Authorization: Bearer $access" "$api/items/$item" | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
header="If-None-Match: $tag"
call GET "/api/v1/items/$item" 304 '' "$access"
header="If-Match: $tag"
call PATCH "/api/v1/items/$item" 200 '"price":"25.00"' "$access" '{"price": "25"}'
call PATCH "/api/v1/items/$item" 412 precondition_failed "$access" '{"price": "26"}'
header="Idempotency-Key: tour-$run"
call POST /api/v1/items 201 '"price":"3.00"' "$access" "{\"name\": \"Tour key $run\", \"price\": \"3\"}"
key=$(field id)
call POST /api/v1/items 201 "\"id\":$key," "$access" "{\"name\": \"Tour key $run\", \"price\": \"3\"}"
call POST /api/v1/items 422 idempotency_key_reused "$access" "{\"name\": \"Tour key $run\", \"price\": \"4\"}"
header=''

chapter 'Refresh and fresh login: only a fresh login returns a fresh token'
call POST /api/v1/auth/refresh 200 '"refresh_token"' "$first_refresh"
stale=$(field access_token) second_refresh=$(field refresh_token)
call POST /api/v1/auth/refresh 200 "$second_refresh" "$first_refresh"
echo '(a second refresh within ten seconds returns the same successor: two tabs or a lost response do not end the session)'
call POST /api/v1/items 401 fresh_token_required "$stale" "{\"name\": \"Tour chair $run\", \"price\": \"80\"}"
call POST /api/v1/auth/fresh-login 200 '"access_token"' "$stale" "$credentials"
fresh=$(field access_token)
call POST /api/v1/items 201 '"price":"80.00"' "$fresh" "{\"name\": \"Tour chair $run\", \"price\": \"80\"}"
chair=$(field id)

chapter 'Administrators'
call DELETE "/api/v1/items/$item" 403 admin_required "$fresh"
call GET /api/v1/users 403 admin_required "$fresh"
printf '\n$ flask users create %s --admin\n' "$admin"
printf '%s\n' "$password" | flask --app wsgi users create "$admin" --admin
call POST /api/v1/auth/login 200 '"is_admin":true' - "{\"username\": \"$admin\", \"password\": \"$password\"}"
boss=$(field access_token)
call DELETE "/api/v1/items/$item" 200 'Item deleted.' "$boss"
call DELETE "/api/v1/items/$item" 404 not_found "$boss"
call DELETE "/api/v1/items/$chair" 200 'Item deleted.' "$boss"
call DELETE "/api/v1/items/$key" 200 'Item deleted.' "$boss"

chapter 'Invalid tokens'
expired=$(python - "$access" <<'PY'
import sys
import time

import jwt

from wsgi import app

claims = jwt.decode(sys.argv[1], options={"verify_signature": False})
claims |= {"exp": int(time.time()) - 60}
key = app.config["JWT_SECRET_KEY"]
print(jwt.encode(claims, key, "HS256", headers=jwt.get_unverified_header(sys.argv[1])))
PY
)
call GET /api/v1/users/me 401 'The token has expired.' "$expired"
call GET /api/v1/users/me 401 token_expired "$expired"
call GET /api/v1/users/me 401 invalid_token "${access%????????}AAAAAAAA"
call GET /api/v1/users/me 401 invalid_token "$second_refresh"

chapter 'Log out: only the access token, only the refresh token, the session'
log_in() {
    call POST /api/v1/auth/login 200 '"refresh_token"' - "$credentials"
    access=$(field access_token) renewal=$(field refresh_token)
}
log_in
call POST /api/v1/auth/logout/access 200 'Access token has been revoked' "$access"
call GET /api/v1/users/me 401 token_revoked "$access"
call POST /api/v1/auth/refresh 200 '"access_token"' "$renewal"
log_in
call POST /api/v1/auth/logout/refresh 200 'Refresh token has been revoked' "$renewal"
call POST /api/v1/auth/refresh 401 token_revoked "$renewal"
call GET /api/v1/users/me 200 "$user" "$access"
log_in
call POST /api/v1/auth/logout 200 message "$access"
call GET /api/v1/users/me 401 token_revoked "$access"
call POST /api/v1/auth/refresh 401 token_revoked "$renewal"

chapter 'Sessions and the password'
log_in
elsewhere=$renewal
log_in
call GET '/api/v1/auth/sessions?limit=100' 200 '"current":true' "$access"
call DELETE /api/v1/auth/sessions 401 fresh_token_required "$stale"
call DELETE '/api/v1/auth/sessions?keep_current=true' 200 'everywhere else' "$access"
call POST /api/v1/auth/refresh 401 token_revoked "$elsewhere"
call PUT /api/v1/auth/password 200 '"refresh_token"' "$access" "{\"current_password\": \"$password\", \"new_password\": \"$new_password\"}"
changed=$(field access_token)
call GET /api/v1/users/me 401 token_revoked "$access"
call GET /api/v1/users/me 200 "$user" "$changed"
call POST /api/v1/auth/login 401 invalid_credentials - "$credentials"

chapter 'Cookies and public keys'
jar=$(mktemp)
trap 'rm -f "$jar"' EXIT
changed_credentials="{\"username\": \"$user\", \"password\": \"$new_password\"}"
cookies="-b $jar -c $jar"
call POST '/api/v1/auth/login?use_cookies=true' 200 '"expires_in":900' - "$changed_credentials"
call GET /api/v1/users/me 200 "$user"
call DELETE '/api/v1/auth/sessions/00000000-0000-4000-8000-000000000000' 403 X-CSRF-TOKEN
csrf=$(awk '$6 == "csrf_refresh_token" { print $7 }' "$jar")
call POST /api/v1/auth/refresh 200 '"token_type":"Bearer"'
csrf=$(awk '$6 == "csrf_access_token" { print $7 }' "$jar")
call POST /api/v1/auth/logout 200 '"message"'
call GET /api/v1/users/me 401 '"status":401'  # some versions of curl keep cleared cookies; they are revoked
cookies='' csrf=''
call GET /.well-known/jwks.json 200 '"keys"'

chapter 'Bad input'
call POST /api/v1/auth/login 400 bad_request - '{"username": '
call POST /api/v1/auth/login 422 '"password":["Missing data for required field."]' - "{\"username\": \"$user\"}"
call POST /api/v1/auth/register 422 'too common' - '{"username": "tour-x", "password": "password1"}'
call POST /api/v1/auth/register 422 '"is_admin":["Unknown field."]' - '{"username": "tour-x", "password": "long enough", "is_admin": true}'
call PATCH /api/v1/users/me 422 validation_failed "$changed" '{"username": 7}'
type=text/plain
call POST /api/v1/auth/login 415 unsupported_media_type - "$credentials"
type=application/json
call POST /api/v1/auth/login 413 payload_too_large - "{\"username\": \"$(printf '%070000d' 0)\"}"
call GET /api/v1/items/9223372036854775808 404 not_found "$changed"
call GET /api/v1/nowhere 404 not_found
call DELETE /api/v1/items 405 method_not_allowed "$changed"

chapter 'Delete all other users'
call GET '/api/v1/users?limit=100' 200 "$user" "$boss"
strangers=$(printf '%s' "$answer" | grep -o '"username":"[^"]*"' | grep -vc '"tour-' || true)
if [ "$strangers" = 0 ] && [ "$(field next_cursor)" = null ]; then
    call DELETE /api/v1/users 200 'row(s) deleted' "$boss"
else
    echo "(skipped: DELETE /users deletes all users except the caller, and some were not created by this tour)"
    id=$(printf '%s' "$answer" | sed -n 's/.*"id":\([0-9]*\),"username":"'"$user"'".*/\1/p')
    call DELETE "/api/v1/users/$id" 200 'User deleted.' "$boss"
fi
call GET /api/v1/users/me 401 token_revoked "$changed"

printf '\n$ curl -X DELETE /api/v1/users/me\n'
curl -sS -X DELETE -H "Authorization: Bearer $boss" "$base/api/v1/users/me"
printf '\n(the last administrator stays; its random password was not stored)\n'

printf '\n\033[32m%s requests, all as expected.\033[0m\n' "$count"
