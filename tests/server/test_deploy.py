"""The files of deploy/ pass the checks of their tools and match the program.

These tests build no image. test_cluster.py runs the servers with nginx.
"""

import re
import shutil
import stat
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from app.data.connections import database_url
from config import Config
from config_secrets import secret_problem
from support.api import API, PASSWORD
from support.databases import absent, bundled_server, named_server
from support.programs import tool
from support.serving import BIN, ROOT, environment, migrate, post, serving

DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service")) + sorted((DEPLOY / "systemd").glob("*.timer"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SETTINGS = {name for name in Config.__annotations__ if name.isupper()}
SECRETS = {"DATABASE_URL", "JWT_SECRET_KEY"}  # settings that a file can hold: its path is the setting …_FILE
IN_FILES = {f"{name}_FILE" for name in SECRETS}


def run(name, *arguments, **options):
    return subprocess.run(
        [tool(name), *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment(), **options
    )


def resources():
    for path in KUBERNETES:
        for resource in yaml.safe_load_all(path.read_text()):
            yield resource["kind"], resource


def nginx_conf():
    return (DEPLOY / "nginx.conf").read_text()


def pods():
    return [resource["spec"]["template"]["spec"] for kind, resource in resources() if kind in ("Deployment", "Job")]


def example():
    lines = (DEPLOY / "systemd" / "latchkey.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


class TestCompose:
    def test_is_a_compose_file(self):
        """The file matches the schema of the Compose Specification."""
        checked = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")

        assert checked.returncode == 0, checked.stdout

    def test_refuses_to_start_without_a_variable(self):
        """Compose stops if one of the three variables is missing."""
        text = (DEPLOY / "compose.yaml").read_text()

        for name in ("SECRETS_DIR", "TRUSTED_HOSTS", "TLS_DIR"):
            assert set(re.findall(r"\$\{" + name + r"\b(..)", text)) == {":?"}, name

    def test_secrets_are_files(self):
        """A service has no secret in its environment, only paths of the secrets that it may read."""
        for name, service in COMPOSE["services"].items():
            environment = service.get("environment", {})
            paths = {value for key, value in environment.items() if key.endswith("_FILE")}
            assert {f"/run/secrets/{target}" for _source, target in secrets_of(service)} == paths, name
            assert not [key for key in environment if re.search(r"PASSWORD$|KEY$|URL$", key)]
            assert {source for source, _target in secrets_of(service)} <= COMPOSE["secrets"].keys()

    def test_the_documented_commands_make_the_secrets(self, tmp_path):
        """The commands of docs/deployment.md make every secret, in a folder that only its owner can enter."""
        blocks = re.findall(r"```sh\n(.+?)```", (ROOT / "docs" / "deployment.md").read_text(), re.DOTALL)
        [commands] = [block for block in blocks if "openssl" in block and "for role" in block]
        folder = tmp_path / "secrets"

        run("sh", "-eu", "-c", commands.replace("/etc/latchkey/secrets", str(folder))).check_returncode()

        wanted = {secret["file"].rpartition("/")[2] for secret in COMPOSE["secrets"].values()}
        made = {path.name: path.read_text().strip() for path in folder.iterdir()}
        assert made.keys() == wanted
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}  # for the containers' users
        assert len(set(made.values())) == len(made)
        assert made["database_url"] == f"postgresql://latchkey:{made['service_password']}@db/latchkey"
        assert made["owner_database_url"] == f"postgresql://latchkey_owner:{made['owner_password']}@db/latchkey"
        assert secret_problem(made["jwt_secret_key"]) == ""

    @pytest.mark.parametrize("name", ["PYTHON_IMAGE", "POSTGRES_IMAGE", "NGINX_IMAGE"])
    def test_images_can_be_pinned(self, name):
        """Each foreign image comes from a variable, which may have a digest."""
        pinned = "registry.example.com/image@sha256:" + "0" * 64
        text = (DEPLOY / "compose.yaml").read_text()
        compose = yaml.safe_load(re.sub(r"\$\{" + name + r":-[^}]+\}", pinned, text))

        app = compose["services"]["app1"]["build"]["args"]["PYTHON_IMAGE"]
        images = {"PYTHON_IMAGE": app} | {
            f"{name}_IMAGE": compose["services"][service]["image"]
            for name, service in (("POSTGRES", "db"), ("NGINX", "nginx"))
        }
        assert images[name] == pinned
        assert sum(image == pinned for image in images.values()) == 1

    def test_the_schema_comes_before_the_servers_and_they_before_nginx(self):
        """The servers wait for the migration, and nginx waits for the servers."""
        services = COMPOSE["services"]
        assert services["migrate"]["command"] == ["flask", "db", "upgrade"]
        assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
        for name in ("app1", "app2", "app3"):
            assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
            assert services["nginx"]["depends_on"][name] == {"condition": "service_healthy"}

    def test_only_the_migration_has_the_role_of_the_owner(self):
        """The servers get the URL of the service, the migration gets that of the owner."""
        urls = {
            name: source
            for name, service in COMPOSE["services"].items()
            for source, target in secrets_of(service)
            if target == "database_url"
        }

        service = "database_url"
        assert urls == {"migrate": "owner_database_url", "app1": service, "app2": service, "app3": service}

    def test_only_nginx_has_a_way_to_the_internet(self):
        """Every other service has only internal networks, which have no way outside."""
        open_networks = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}

        connected = {name for name, service in COMPOSE["services"].items() if open_networks & set(service["networks"])}
        assert connected == {"nginx"}
        assert {name for name, service in COMPOSE["services"].items() if "ports" in service} == {"nginx"}

    def test_nginx_has_the_addresses_of_the_servers(self):
        """nginx.conf has the addresses of the servers in compose.yaml."""
        fronts = [service["networks"]["front"] for name, service in COMPOSE["services"].items() if name[:3] == "app"]
        asked = re.findall(r"server ([0-9.]+):8000 ", nginx_conf())

        assert [front["ipv4_address"] for front in fronts] == asked
        assert len(asked) == 3


class TestKubernetes:
    @pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
    def test_matches_the_schema(self, path):
        """The file matches the schemas of Kubernetes and has no unknown field."""
        checked = run("kubernetes-validate", "--strict", "--kubernetes-version", "1.34", path)

        assert checked.returncode == 0, checked.stderr

    def test_pods_have_few_rights(self):
        """A pod has no root user, capability, cluster token or writable root file system."""
        for pod in pods():
            [container] = pod["containers"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["automountServiceAccountToken"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"].keys() == {"requests", "limits"}

    def test_only_the_job_has_the_secret_of_the_owner(self):
        """The servers mount the secret `latchkey`, the migration `latchkey-migrate`, and no environment has one."""
        mounted = []
        for pod in pods():
            [container] = pod["containers"]
            [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
            [secret] = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "secrets"]
            assert mount["readOnly"]
            assert secret["defaultMode"] == 0o440
            assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
            assert container["envFrom"] == [{"configMapRef": {"name": "latchkey"}}]
            mounted.append((secret["secretName"], mount["mountPath"]))

        assert sorted(mounted) == [("latchkey", "/run/secrets/latchkey"), ("latchkey-migrate", "/run/secrets/latchkey")]

    def test_the_paths_of_the_secrets(self):
        """The ConfigMap names the files of the mounted secrets, and each secret has these files."""
        settings = next(resource["data"] for kind, resource in resources() if kind == "ConfigMap")

        assert {name: settings[name] for name in IN_FILES} == {
            f"{name}_FILE": f"/run/secrets/latchkey/{name}" for name in SECRETS
        }
        for kind, resource in resources():
            if kind == "Secret":
                assert resource["stringData"].keys() == SECRETS

    def test_only_the_ingress_reaches_the_pods(self):
        """The policy selects every pod of ours, and limits both directions."""
        policy = dict(resources())["NetworkPolicy"]["spec"]

        assert policy["policyTypes"] == ["Ingress", "Egress"]
        for kind in ("Deployment", "Job"):
            labels = dict(resources())[kind]["spec"]["template"]["metadata"]["labels"]
            assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": 8000}]]

    def test_the_pods_reach_only_what_they_need(self):
        """The pods connect to one address of the database and to the name server, and to nothing else."""
        rules = dict(resources())["NetworkPolicy"]["spec"]["egress"]

        [database, names] = rules
        assert [peer["ipBlock"]["cidr"].partition("/")[2] for peer in database["to"]] == ["32"]
        assert database["ports"] == [{"port": 5432}]
        assert [set(peer) for peer in names["to"]] == [{"namespaceSelector", "podSelector"}]
        assert {port["port"] for port in names["ports"]} == {53}

    def test_the_namespace_is_restricted(self):
        """The cluster enforces the strictest Pod Security Standard."""
        labels = dict(resources())["Namespace"]["metadata"]["labels"]

        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_selectors_match_the_pods(self):
        """Service, budget and deployment select the server pods, not the job's pod."""
        found = dict(resources())
        labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]

        assert found["Service"]["spec"]["selector"] == labels
        assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
        assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
        assert found["Job"]["spec"]["template"]["metadata"]["labels"] != labels

    def test_a_pod_has_time_to_stop(self):
        """The grace period covers preStop plus 30 s, and probes send a trusted host."""
        [pod] = [pod for pod in pods() if "terminationGracePeriodSeconds" in pod]
        [container] = pod["containers"]
        sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

        assert pod["terminationGracePeriodSeconds"] > sleep + 30
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            [host] = container[probe]["httpGet"]["httpHeaders"]
            assert host["value"] == dict(resources())["ConfigMap"]["data"]["TRUSTED_HOSTS"]


class TestDockerfile:
    def test_has_no_known_fault(self):
        """The linter hadolint finds nothing."""
        checked = run("hadolint", DEPLOY / "Dockerfile")

        assert (checked.returncode, checked.stdout) == (0, "")

    def test_copies_all_that_the_program_needs_and_nothing_else(self, tmp_path):
        """The image's command starts with exactly the files that .dockerignore allows."""
        text = (DEPLOY / "Dockerfile").read_text()
        copied = [name for names in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for name in names.split()]
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        assert sorted(copied) == sorted(allowed)
        for name in copied:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif not name.startswith("requirements/"):
                shutil.copy(ROOT / name, tmp_path)

        checked = run("gunicorn", "--check-config", "--bind", "0.0.0.0:8000", "wsgi:app", cwd=tmp_path)

        assert (checked.returncode, checked.stderr) == (0, "")
        assert '"gunicorn", "--bind", "0.0.0.0:8000", "wsgi:app"' in text
        assert "--require-hashes" in text

    @pytest.mark.parametrize("secret", [".env", "instance/jwt_secret_key", ".git/config", "deploy/tls/privkey.pem"])
    def test_no_secret_comes_near_it(self, secret):
        """.dockerignore excludes every file that can contain a secret."""
        lines = (ROOT / ".dockerignore").read_text().splitlines()

        assert "*" in lines
        assert not any(fnmatch(secret, f"{line[1:]}*") for line in lines if line.startswith("!"))


class TestSystemd:
    @pytest.fixture(params=["as they are", "with address lists"])
    def units(self, request, tmp_path):
        """The units with the paths of this checkout.  systemd checks that the commands exist."""
        for path in UNITS:
            text = path.read_text().replace("/opt/latchkey/.venv/bin", str(BIN))
            if request.param == "with address lists":
                text = re.sub(r"^#(?=IPAddress)", "", text, flags=re.MULTILINE)
                assert ("\nIPAddressDeny=any\n" in text) is (path.suffix == ".service")
            (tmp_path / path.name).write_text(text.replace("/opt/latchkey", str(ROOT)))
        return [tmp_path / path.name for path in UNITS]

    def test_are_units(self, units):
        """Each unit passes `systemd-analyze verify` without a warning."""
        checked = run("systemd-analyze", "verify", "--man=no", *units)

        assert (checked.returncode, checked.stderr) == (0, "")

    def test_are_locked_in(self, units):
        """`systemd-analyze security` rates each service at 2 of 10 or less."""
        for unit in units:
            if unit.suffix == ".service":
                checked = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit)
                assert checked.returncode == 0, checked.stdout

    def test_secrets_are_credentials(self):
        """Each service gets its secrets as credentials, and only the migration gets the URL of the owner."""
        for path in UNITS:
            if path.suffix == ".service":
                text = path.read_text()
                loaded = dict(re.findall(r"^LoadCredential=(\w+):/etc/latchkey/secrets/(\w+)$", text, re.MULTILINE))
                owner = "owner_database_url" if path.stem == "latchkey-migrate" else "database_url"
                assert loaded == {"database_url": owner, "jwt_secret_key": "jwt_secret_key"}, path.name
                given = dict(re.findall(r"(\w+_FILE)=%d/(\w+)", text))
                assert given == {f"{name}_FILE": name.lower() for name in SECRETS}


def secrets_of(service):
    """The secrets of a service of Compose: the names of the source and of the file."""
    for secret in service.get("secrets", []):
        yield (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])


@pytest.mark.parametrize(
    "given",
    [
        *(service["environment"] for name, service in COMPOSE["services"].items() if name[:3] == "app"),
        *(resource["data"] for kind, resource in resources() if kind == "ConfigMap"),
        *(resource["stringData"] for kind, resource in resources() if kind == "Secret"),
        example(),
    ],
)
def test_settings_are_ours(given):
    """Every variable is a setting of config.py, and no file contains a secret."""
    assert given.keys() <= SETTINGS | IN_FILES | {"APP_ENV"}
    assert all(given[name] == "" for name in given.keys() & SECRETS)
    assert given.get("APP_ENV", "production") == "production"


def test_the_body_limit_is_the_same():
    """The proxy has the body limit of the application."""
    assert f"client_max_body_size {Config.MAX_CONTENT_LENGTH // 1024}k;" in nginx_conf()


def test_nginx_promises_https_as_the_application_does():
    """What nginx adds to answers without Strict-Transport-Security is the application's default."""
    added = re.search(r"map \$upstream_http_strict_transport_security \$hsts {\s+\"\"\s+(\S+);", nginx_conf())

    assert added[1] == f"max-age={Config.HSTS_SECONDS}"


def test_nginx_does_not_compress():
    """A compressed answer has a weak ETag, which If-Match never matches."""
    assert re.findall(r"^\s*gzip\S* .*$", nginx_conf(), re.MULTILINE) == ["        gzip off;"]


def test_no_path_of_a_unit_is_missing():
    """The environment file of the unit has an example, and its documentation exists."""
    text = (DEPLOY / "systemd" / "latchkey.service").read_text()

    assert (DEPLOY / "systemd" / f"{Path(re.search(r'EnvironmentFile=(.+)', text)[1]).name}.example").is_file()
    assert (ROOT / re.search(r"Documentation=file:/opt/latchkey/(.+)", text)[1]).is_file()


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    """The URLs of the owner and of the service, on a server where roles.sql has run."""
    reason = absent("postgresql")
    if reason or named_server("postgresql"):
        pytest.skip(reason or "roles.sql creates roles of the whole server, so it needs one of its own")
    file = tmp_path_factory.mktemp("secrets") / "service_password"
    file.write_text("service\n")
    with pytest.MonkeyPatch.context() as patch, bundled_server() as server:
        patch.setenv("OWNER_PASSWORD", "owner")  # roles.sql accepts both: the environment and a file
        patch.setenv("SERVICE_PASSWORD_FILE", str(file))
        server.psql((DEPLOY / "postgresql" / "roles.sql").read_text())
        url = make_url(server.get_uri()).set(database="latchkey")
        yield [
            url.set(username=name, password=password).render_as_string(hide_password=False)
            for name, password in (("latchkey_owner", "owner"), ("latchkey", "service"))
        ]


class TestRoles:
    """The roles of deploy/postgresql/roles.sql."""

    def test_the_service_works(self, roles):
        """The role of the servers registers, is ready, prunes, and passes the doctor."""
        owner, service = roles
        migrate(owner)

        with serving(DATABASE_URL=service, APP_ENV="testing") as (port, _process):
            assert post(port, f"{API}/auth/register", {"username": "grace", "password": PASSWORD})[0] == 201
        for command in (["tokens", "prune"], ["tokens", "revoke-all", "--yes"], ["users", "list"], ["doctor"]):
            done = flask(service, *command)
            assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        "statement",
        ["CREATE TABLE mine (id int)", "DROP TABLE users", "ALTER TABLE users ADD mine int", "TRUNCATE users"],
    )
    def test_the_service_cannot_change_the_schema(self, roles, statement):
        """The role of the servers has no right to create, change, drop or truncate a table."""
        owner, service = roles
        migrate(owner)
        engine = create_engine(database_url(service), poolclass=NullPool)

        with engine.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            connection.execute(text(statement))


def flask(url, *words):
    command = [BIN / "flask", "--app", "wsgi", *words]
    env = environment(DATABASE_URL=url, APP_ENV="testing")
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
