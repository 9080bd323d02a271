import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { ErrorObject } from '../wire/errors'
import { makeSocket } from '../wire/socket'
import { AdminClient } from './client'
import './style.css'
import { dropToken, keepToken, readToken } from './token'
import { Page } from './ui/page'
import { TokenPage } from './ui/tokenpage'
import { refusalText } from './words'

function Visit() {
  const [token, setToken] = useState(() => readToken(sessionStorage))
  const [client, setClient] = useState<AdminClient | null>(null)
  const [reason, setReason] = useState<string | null>(null)

  function forget(why: ErrorObject | null): void {
    dropToken(sessionStorage)
    setReason(why === null ? null : refusalText(why))
    setToken(null)
  }

  useEffect(() => {
    if (token === null) return
    const next = new AdminClient(makeSocket(token, location.origin, '/admin'), forget)
    setClient(next)
    next.link.start()
    return () => {
      setClient(null)
      next.stop()
    }
  }, [token])

  if (token === null) {
    return (
      <TokenPage
        reason={reason}
        onToken={(given) => {
          keepToken(sessionStorage, given)
          setToken(given)
        }}
      />
    )
  }
  return client === null ? null : <Page client={client} onLeave={() => forget(null)} />
}

const root = document.getElementById('app')
if (root !== null) render(<Visit />, root)
