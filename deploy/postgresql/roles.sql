-- Two roles: latchkey_owner migrates the schema, latchkey reads and writes rows and cannot change the schema.
-- Run it once as a superuser of PostgreSQL 14 or newer, with the two passwords in the environment, or in files that
-- OWNER_PASSWORD_FILE and SERVICE_PASSWORD_FILE name:
--   OWNER_PASSWORD=… SERVICE_PASSWORD=… psql --file deploy/postgresql/roles.sql postgres
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
\if :{?owner_password}
\else
    \set owner_password `cat "$OWNER_PASSWORD_FILE"`
\endif
\if :{?service_password}
\else
    \set service_password `cat "$SERVICE_PASSWORD_FILE"`
\endif

CREATE ROLE latchkey_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE latchkey LOGIN PASSWORD :'service_password';
CREATE DATABASE latchkey OWNER latchkey_owner;
REVOKE ALL ON DATABASE latchkey FROM PUBLIC;
GRANT CONNECT ON DATABASE latchkey TO latchkey;

\connect latchkey
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO latchkey_owner;
GRANT USAGE ON SCHEMA public TO latchkey;
-- For every table that a later migration creates.
ALTER DEFAULT PRIVILEGES FOR ROLE latchkey_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO latchkey;
ALTER DEFAULT PRIVILEGES FOR ROLE latchkey_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO latchkey;
