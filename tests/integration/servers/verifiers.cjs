// Asks the vendors' own verifiers. Each line of the input is a question in JSON, each line of the output true or false.
"use strict";
const { EventEmitter } = require("node:events");
const https = require("node:https");
const { createRequire } = require("node:module");
const readline = require("node:readline");

const load = createRequire(`${process.argv[2]}/package.json`);
const { MailerSendUtils } = load("mailersend/lib/services/mailersend.utils.js");

function mailersend({ body, signature, secret }) {
  return MailerSendUtils.verifyWebHook(Buffer.from(body, "base64"), signature, secret);
}

// The certificate comes with the question, and from nowhere else.
function sns({ body, certificate }) {
  https.get = (url, found) => {
    const answer = Object.assign(new EventEmitter(), { statusCode: 200 });
    found(answer);
    answer.emit("data", certificate);
    answer.emit("end");
    return new EventEmitter();
  };
  // It keeps certificates by their URL, and here another one may be behind the same.
  delete load.cache[load.resolve("sns-validator")];
  const Validator = load("sns-validator");
  return new Promise((resolve) => {
    new Validator().validate(Buffer.from(body, "base64").toString("utf8"), (error) => resolve(!error));
  });
}

async function asked(line) {
  const { verifier, ...question } = JSON.parse(line);
  try {
    return (await { mailersend, sns }[verifier](question)) === true;
  } catch {
    return false;
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${await asked(line)}\n`);
  }
})();
