'use strict'
// The process that sends for nodemailer: node nodemailer.cjs FOLDER SPEC, where FOLDER holds node_modules.
// The same lines as client.py; {"what": "cold" | "compose" | "large"} are the other suites.

const fs = require('fs')
const readline = require('readline')
const { createRequire } = require('module')

const fromFolder = createRequire(process.argv[2] + '/')
const spec = JSON.parse(process.argv[3])
const nodemailer = fromFolder('nodemailer')
const MailComposer = fromFolder('nodemailer/lib/mail-composer')

const tell = (what) => fs.writeSync(1, JSON.stringify(what) + '\n')
const recipient = (number) => `user${String(number).padStart(6, '0')}@example.com`
const place = { host: spec.host, port: spec.port, secure: false, ignoreTLS: true, name: 'client.test' }
const cpuSeconds = () => {
  const used = process.cpuUsage()
  return (used.user + used.system) / 1e6
}

async function timed(sent, work) {
  const cpu = cpuSeconds()
  const wall = process.hrtime.bigint()
  await work()
  return { sent, wall_s: Number(process.hrtime.bigint() - wall) / 1e9, cpu_s: cpuSeconds() - cpu }
}

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, value) => value))
const withContent = ({ repeat, ...file }) => ({ ...file, content: Buffer.concat(Array(repeat).fill(everyByte)) })
const fields = spec.fields && { ...spec.fields, attachments: spec.fields.attachments.map(withContent) }
const mail = (number) => ({ ...fields, to: recipient(number), messageId: '<000000.benchmark@example.com>' })

function sending() {
  const pool = nodemailer.createTransport({
    ...place,
    pool: true,
    maxConnections: spec.connections,
    maxMessages: Infinity,
  })
  const raw = spec.composes ? null : fs.readFileSync(spec.content_file)
  const one = (number) =>
    spec.composes ? mail(number) : { envelope: { from: spec.sender, to: [recipient(number)] }, raw }
  return (count) =>
    timed(count, async () => {
      let next = 0
      const work = async () => {
        while (next < count) await pool.sendMail(one(next++))
      }
      // More callers than connections, so that none of them waits for a caller.
      await Promise.all(Array.from({ length: spec.connections * 4 }, work))
    })
}

function cold() {
  const raw = fs.readFileSync(spec.content_file)
  return (count) =>
    timed(count, async () => {
      for (let number = 0; number < count; number++) {
        const transport = nodemailer.createTransport({ ...place, auth: { user: 'user', pass: 'password' } })
        await transport.sendMail({ envelope: { from: spec.sender, to: [recipient(number)] }, raw })
        transport.close()
      }
    })
}

function composing() {
  return (count) =>
    timed(count, async () => {
      for (let number = 0; number < count; number++) {
        await new Promise((resolve, reject) =>
          new MailComposer(mail(number)).compile().build((error) => (error ? reject(error) : resolve())))
      }
    })
}

function large() {
  const peak = () => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'latin1'))[1])
  return (count) =>
    timed(count, async () => {
      const transport = nodemailer.createTransport(place)
      const attachments = [{ filename: 'large.bin', path: spec.attachment }]
      const message = { from: spec.sender, subject: 'A large file', text: 'See the file.', attachments }
      await transport.sendMail({ ...message, to: recipient(0) })
      // What the process is made of (its heap, the first connection) is there now; the peak starts anew.
      fs.writeFileSync('/proc/self/clear_refs', '5')
      spec.before_kib = peak()
      await transport.sendMail({ ...message, to: recipient(1) })
      transport.close()
    }).then((report) => ({ ...report, sent: 2, above_start_kib: peak() - spec.before_kib }))
}

const round = { send: sending, cold, compose: composing, large }[spec.what || 'send']()
tell({ ready: true })
readline.createInterface({ input: process.stdin }).on('line', (line) =>
  round(Number(line)).then(tell, (error) => tell({ failed: String(error) })))
