"""Our own client: asynchronous, over the JSON gateway, of quorate and of stock etcd alike."""
