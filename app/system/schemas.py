from marshmallow import Schema, fields


class IndexSchema(Schema):
    name = fields.String(required=True, metadata={"examples": ["Latchkey"]})
    version = fields.String(required=True, metadata={"examples": ["0.1.0"]})
    openapi = fields.String(metadata={"description": "The path of the API document.", "examples": ["/openapi.json"]})
    docs = fields.String(metadata={"description": "The path of a page to read and try it.", "examples": ["/docs"]})


class HealthSchema(Schema):
    status = fields.String(required=True, metadata={"examples": ["ok"]})


class KeysSchema(Schema):
    keys = fields.List(
        fields.Dict(),
        required=True,
        metadata={
            "description": "Public keys, as RFC 7517 has them.",
            "examples": [[{"kty": "OKP", "crv": "Ed25519", "x": "…", "kid": "…", "alg": "EdDSA", "use": "sig"}]],
        },
    )
