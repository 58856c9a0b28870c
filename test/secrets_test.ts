import assert from "node:assert/strict";
import { isSecretName, maskSecrets } from "../src/secrets.ts";

Deno.test("secrets are masked by their names, and all else stays as it is", () => {
  const configuration = {
    app_id: "shop",
    secret: "s1",
    open_api_token: "s2",
    is_backup_config: "true",
    metadata: [{ redisPassword: "s3", host: "db:1" }, null, 7],
    credentials: { user: "s4", nested: ["s5"], isOn: true },
    tls_context: { status: true, private_key: "s6", cert_chain: "public" },
    address: ["http://192.0.2.1:8080", "redis://user:s7@192.0.2.1"],
  };
  const masked = maskSecrets(configuration);
  assert.deepEqual(masked, {
    app_id: "shop",
    secret: "***",
    open_api_token: "***",
    is_backup_config: "true",
    metadata: [{ redisPassword: "***", host: "db:1" }, null, 7],
    credentials: { user: "***", nested: ["***"], isOn: true },
    tls_context: { status: true, private_key: "***", cert_chain: "public" },
    address: ["http://192.0.2.1:8080", "redis://user:***@192.0.2.1"],
  });
  assert.doesNotMatch(JSON.stringify(masked), /s\d/);
});

Deno.test("names of secrets in every notation, and names that are none", () => {
  for (const name of ["apiKey", "api-key", "SECRET_KEY", "passwd", "basic_auth", "accessKeyId"]) {
    assert.ok(isSecretName(name), name);
  }
  for (const name of ["author", "key", "keyspace", "switch", "cert_chain", "bypass"]) {
    assert.ok(!isSecretName(name), name);
  }
});
