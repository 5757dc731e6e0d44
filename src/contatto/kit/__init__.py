"""The ground floor: ids, time, money, errors, storage and the web base; it knows no business."""
