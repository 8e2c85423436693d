// Command pause holds a pod's namespaces open: it waits to be told to stop, and reaps orphans where the pod's
// containers share its process namespace. It promises to use no library but Go's own, so that it builds anywhere.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			// Several children may have ended behind one signal: collect until none is left.
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
