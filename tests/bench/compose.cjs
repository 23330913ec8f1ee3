'use strict'
// node compose.cjs FOLDER: FOLDER holds node_modules. Reads a message as JSON on the first line, then a count on each
// line, and answers with the CPU microseconds that nodemailer's MailComposer took for one of so many copies.

const readline = require('readline')
const { createRequire } = require('module')

const MailComposer = createRequire(process.argv[2] + '/')('nodemailer/lib/mail-composer')
const markup = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#x27;' }
const escaped = (value) => value.replace(/[&<>"']/g, (sign) => markup[sign])
const filled = (text, merge, escape) => text.replace(/\{\{ (\w+) \}\}/g, (_, name) => escape(merge[name]))

let message = null

const copy = ({ to, messageId, merge, headers }) => ({
  from: message.from,
  subject: message.subject,
  date: new Date(message.date),
  attachments: message.attachments.map((file) => ({ ...file })),
  to,
  messageId,
  headers,
  text: filled(message.text, merge, String),
  html: filled(message.html, merge, escaped),
})

async function compose(count) {
  const start = process.cpuUsage()
  for (let number = 0; number < count; number++) {
    await new Promise((resolve, reject) =>
      new MailComposer(copy(message.copies[number % message.copies.length]))
        .compile()
        .build((error, built) => (error ? reject(error) : resolve(built))),
    )
  }
  const used = process.cpuUsage(start)
  return (used.user + used.system) / count
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  if (message === null) {
    message = JSON.parse(line)
    message.attachments = message.attachments.map((file) => ({ ...file, content: Buffer.from(file.content, 'base64') }))
    console.log('0')
  } else {
    console.log(String(await compose(Number(line))))
  }
})
