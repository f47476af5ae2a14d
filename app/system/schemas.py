from marshmallow import Schema, fields


class IndexSchema(Schema):
    name = fields.String(required=True)
    version = fields.String(required=True)
    openapi = fields.String(required=True, metadata={"description": "The path of the API document."})


class HealthSchema(Schema):
    status = fields.String(required=True)


class KeysSchema(Schema):
    keys = fields.List(fields.Dict(), required=True, metadata={"description": "Public keys, as RFC 7517 has them."})
